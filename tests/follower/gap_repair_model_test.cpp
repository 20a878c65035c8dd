// Many random interleavings of a stream that loses events, a control channel that is slow or does not reply,
// evictions and restarts of the broker; each is checked against what was published.

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "follower/order/gap_repair.hpp"
#include "tests/follower/fake_broker.hpp"

namespace backplane::follower {
namespace {

using namespace std::chrono_literals;
using Clock = GapRepair::Clock;

struct Published {
  std::string topic;
  std::string event;
  wire::Stamp stamp;
  bool lost{};     // on its way to the reader
  bool evicted{};  // from history
};

/// What can go wrong in one run.
struct Faults {
  unsigned loss_percent{};      // of the events, in runs
  unsigned eviction_percent{};  // of the steps: history is evicted up to a random position
  unsigned timeout_percent{};   // of the requests: no reply
  int control_delay_ms_max{};
  int live_delay_ms_max{};
  bool restarts{};
  // By default, long enough for all requests one after the other.
  std::chrono::milliseconds recovery_limit{60'000};
  std::size_t reorder_buffer_bytes_max = 64u << 20;
};

/// A broker, a GapRepair, the channels between them, and the account of what was delivered. Time is
/// simulated.
class Simulation : public GapRepairSink {
 public:
  Simulation(std::uint32_t seed, const Faults& faults)
      : random_(seed),
        faults_(faults),
        reorder_buffer_bytes_max_(faults.reorder_buffer_bytes_max),
        gap_repair_({.recovery_limit = faults.recovery_limit,
                     .reorder_buffer_bytes_max = faults.reorder_buffer_bytes_max},
                    *this) {}

  void run() {
    gap_repair_.subscribe("a.", 1);
    gap_repair_.subscribe("b", 1);
    advance(1ms);
    begin_ = position_;
    gap_repair_.on_live_reply(1, stream_, position_, true, now_);
    for (int step = 0; step < 400 && !::testing::Test::HasFailure(); ++step) {
      if (chance(60)) publish();
      if (chance(faults_.eviction_percent)) evict();
      if (faults_.restarts && chance(1)) restart();
      advance(std::chrono::milliseconds{pick(chance(2) ? 300 : 8)});
    }
    faults_ = {};  // without faults, until everything is recovered
    for (int i = 0; i < 1000; ++i) advance(10ms);
    check_complete();
  }

  void deliver(const Delivery& delivery) override {
    const auto found = published_.find({delivery.stamp.stream, delivery.stamp.position});
    ASSERT_NE(found, published_.end()) << "never published";
    const Published& published = found->second;
    EXPECT_EQ(published.topic, delivery.topic);
    EXPECT_EQ(published.event,
              std::string(reinterpret_cast<const char*>(delivery.event.data()), delivery.event.size()));
    EXPECT_EQ(delivery.stamp.stream, delivering_) << "an event of another incarnation";
    if (delivery.late) {
      EXPECT_TRUE(published.lost) << "late, although it arrived live: " << where(published);
    } else {
      EXPECT_GT(delivery.stamp.position, highest_) << where(published);
    }
    highest_ = std::max(highest_, delivery.stamp.position);
    std::uint64_t& next = expect(published.topic);
    EXPECT_EQ(delivery.stamp.offset, next) << where(published);
    next = delivery.stamp.offset + 1;
    ++delivered;
  }

  void gap(const Gap& gap) override {
    EXPECT_EQ(gap.stream, delivering_);
    std::uint64_t& next = expect(std::string(gap.topic));
    const std::uint64_t first = gap.first == 0 ? next : gap.first;
    if (gap.first == 0) {
      EXPECT_FALSE(seen_.contains(gap.topic)) << "unknown size, although the topic was seen before";
    }
    EXPECT_EQ(first, next) << gap.topic;
    EXPECT_GE(gap.last, first);
    for (std::uint64_t offset = first; offset <= gap.last; ++offset) check_lost(gap, offset);
    next = gap.last + 1;
    ++gaps;
  }

  void reset(const Reset& reset) override {
    EXPECT_EQ(reset.old_stream, delivering_);
    EXPECT_NE(reset.new_stream, delivering_);
    delivering_ = reset.new_stream;
    highest_ = 0;
    begin_ = 0;
    next_.clear();
    seen_.clear();
    ++resets;
  }

  int delivered = 0;
  int gaps = 0;
  int resets = 0;
  [[nodiscard]] const GapRepairCounters& counters() const { return gap_repair_.counters(); }

 private:
  struct Timed {
    Clock::time_point at;
    std::function<void()> happen;
  };

  int pick(int max) { return std::uniform_int_distribution<int>{0, max}(random_); }
  bool chance(unsigned percent) { return percent > 0 && pick(99) < static_cast<int>(percent); }
  static std::string where(const Published& p) {
    return fmt::format("{} offset {} position {}", p.topic, p.stamp.offset, p.stamp.position);
  }

  static const std::vector<std::string>& all_topics() {
    static const std::vector<std::string> topics{"a.one", "a.two", "a.three", "b", "c.other", "a.four.deep"};
    return topics;
  }

  /// Prefetches random topics, which must not affect how events are handled.
  void maybe_prefetch() {
    if (prefetch_random_() % 4 != 0) return;
    std::vector<std::string_view> topics(prefetch_random_() % GapRepair::prefetched_max + 1);
    for (std::string_view& topic : topics) topic = all_topics()[prefetch_random_() % all_topics().size()];
    gap_repair_.prefetch(topics);
  }

  void publish() {
    const std::vector<std::string>& topics = all_topics();
    // A burst is lost as a whole or not at all, as with a full pipe.
    const int count = chance(10) ? pick(20) : 1;
    const bool lost = chance(faults_.loss_percent);
    for (int i = 0; i < count; ++i) {
      const std::string& topic = topics[static_cast<std::size_t>(pick(static_cast<int>(topics.size()) - 1))];
      wire::Stamp& tail = tails_[topic];
      tail = wire::Stamp{stream_, ++position_, tail.offset + 1, tail.position, 1};
      const auto key = std::pair{stream_, position_};
      published_[key] =
          Published{topic, testing::stamped_event(fmt::format("{}", position_), tail), tail, lost, false};
      offsets_[{stream_, topic, tail.offset}] = position_;
      if (lost || topic == "c.other") continue;
      live_at_ = std::max(live_at_, now_ + std::chrono::milliseconds{pick(faults_.live_delay_ms_max)});
      live_.push_back({live_at_, [this, key] {
                         const Published& p = published_.at(key);
                         maybe_prefetch();
                         gap_repair_.on_event(p.topic, std::as_bytes(std::span(p.event)), p.stamp, now_);
                       }});
    }
  }

  void evict() {
    const auto up_to = position_ - std::min<std::uint64_t>(position_, static_cast<std::uint64_t>(pick(30)));
    for (auto& [key, published] : published_) {
      if (key.first == stream_ && key.second <= up_to) published.evicted = true;
    }
  }

  void restart() {
    // Events in flight on the old connection are lost, and the broker has lost its history.
    for (auto& [key, published] : published_) published.evicted = true;
    live_.clear();
    tails_.clear();
    ++stream_;
    position_ = 0;
    const int before_we_are_back = pick(5);
    for (int i = 0; i < before_we_are_back; ++i) {
      const Faults faults = std::exchange(faults_, Faults{.loss_percent = 100});
      publish();
      faults_ = faults;
    }
    const auto stream = stream_;
    const auto position = position_;
    live_at_ = std::max(live_at_, now_ + 5ms);
    live_.push_back(
        {live_at_, [this, stream, position] { gap_repair_.on_live_reply(1, stream, position, true, now_); }});
  }

  void advance(std::chrono::milliseconds by) {
    const auto end = now_ + by;
    do {
      deliver_due(live_);
      deliver_due(control_);
      gap_repair_.tick(now_, live_.empty() || live_.front().at > now_);
      send_requests();
      EXPECT_LE(gap_repair_.reorder_buffer_bytes(), 2 * reorder_buffer_bytes_max_);
      check_books();
      now_ += 1ms;
    } while (now_ <= end);
  }

  void deliver_due(std::deque<Timed>& queue) {
    while (!queue.empty() && queue.front().at <= now_) {
      const auto happen = std::move(queue.front().happen);
      queue.pop_front();
      happen();
    }
  }

  void send_requests() {
    const auto later = [this] {
      return now_ + std::chrono::milliseconds{pick(faults_.control_delay_ms_max)};
    };
    if (const auto request = gap_repair_.next_replay(now_)) {
      if (chance(faults_.timeout_percent)) {
        timed_out_ = true;
        insert(
            {now_ + 1000ms, [this, request] { gap_repair_.on_replay_failed(request->number, false, now_); }});
      } else {
        insert({later(), [this, request] { reply_to_replay(*request); }});
      }
    }
    if (const auto request = gap_repair_.next_tails(now_)) {
      if (chance(faults_.timeout_percent)) {
        insert({now_ + 1000ms, [this, request] { gap_repair_.on_tails_failed(request->number, now_); }});
      } else {
        insert({later(), [this, request] { reply_to_tails(*request); }});
      }
    }
  }

  void insert(Timed timed) {
    const auto place = std::find_if(control_.begin(), control_.end(),
                                    [&](const Timed& other) { return other.at > timed.at; });
    control_.insert(place, std::move(timed));
  }

  static bool matches(const std::string& pattern, const std::string& topic) {
    if (pattern.back() != '>') return pattern == topic;
    return topic.starts_with(pattern.substr(0, pattern.size() - 1));
  }

  void reply_to_replay(const ReplayRequest& request) {
    if (request.stream != stream_) return gap_repair_.on_replay_failed(request.number, true, now_);
    ReplayReply reply;
    std::uint64_t first_available = position_ + 1;
    const std::uint64_t after = request.cursor.empty() ? request.after : std::stoull(request.cursor);
    std::string cursor;
    for (auto entry = published_.lower_bound({stream_, after + 1}); entry != published_.end(); ++entry) {
      const Published& p = entry->second;
      if (p.stamp.position > request.until || !matches(request.pattern, p.topic)) continue;
      if (p.evicted) reply.end = ReplayReply::End::gone;
      if (!p.evicted) first_available = std::min(first_available, p.stamp.position);
      if (p.evicted || reply.end != ReplayReply::End::complete) continue;
      if (reply.events.size() == 3) {
        cursor = fmt::format("{}", published_.at({stream_, std::stoull(cursor)}).stamp.position);
        reply.end = ReplayReply::End::more;
        continue;
      }
      reply.events.push_back({p.topic, std::as_bytes(std::span(p.event))});
      cursor = fmt::format("{}", p.stamp.position);
    }
    if (reply.end == ReplayReply::End::gone) reply.events.clear();
    reply.first_available = first_available;
    reply.cursor = cursor;
    gap_repair_.on_replay_reply(request.number, reply, now_);
  }

  void reply_to_tails(const TailsRequest& request) {
    TailsReply reply;
    reply.stream = stream_;
    reply.position = position_;
    std::string cursor;
    for (const auto& [topic, tail] : tails_) {
      if (tail.position <= request.after || (!request.cursor.empty() && topic <= request.cursor)) continue;
      if (std::none_of(request.patterns.begin(), request.patterns.end(),
                       [&, name = topic](const auto& pattern) { return matches(pattern, name); })) {
        continue;
      }
      if (reply.tails.size() == 2) {
        cursor = reply.tails.back().topic;
        break;
      }
      reply.tails.push_back({topic, tail.position, tail.offset});
    }
    reply.cursor = cursor;
    gap_repair_.on_tails_reply(request.number, reply, now_);
  }

  /// The next offset of `topic` that must be delivered or announced as lost.
  std::uint64_t& expect(const std::string& topic) {
    seen_.insert(topic);
    const auto [entry, is_new] = next_.try_emplace(topic, 1);
    if (is_new) entry->second = first_expected(topic);
    return entry->second;
  }

  std::uint64_t first_expected(const std::string& topic) const {
    std::uint64_t first = 1;
    for (const auto& [key, p] : published_) {
      if (key.first == delivering_ && key.second <= begin_ && p.topic == topic) ++first;
    }
    return first;
  }

  void check_lost(const Gap& gap, std::uint64_t offset) {
    const auto position = offsets_.find({gap.stream, std::string(gap.topic), offset});
    ASSERT_NE(position, offsets_.end()) << "never published";
    const Published& p = published_.at({gap.stream, position->second});
    if (gap.reason == GapReason::history_gone) {
      EXPECT_TRUE(p.evicted) << "history holds it: " << where(p);
    } else {
      EXPECT_TRUE(timed_out_) << "no request timed out: " << where(p);
    }
  }

  void check_books() {
    const GapRepairCounters& all = gap_repair_.counters();
    ASSERT_EQ(all.expected, all.seen + all.recovered + all.lost_history_gone + all.lost_recovery_timeout +
                                all.unwanted + gap_repair_.awaited());
    ASSERT_EQ(all.seen + all.recovered, static_cast<std::uint64_t>(delivered));
  }

  void check_complete() {
    EXPECT_EQ(gap_repair_.awaited(), 0u);
    EXPECT_EQ(delivering_, stream_);
    for (const auto& [topic, tail] : tails_) {
      if (topic == "c.other" || tail.position <= begin_) continue;
      EXPECT_EQ(expect(topic), tail.offset + 1) << topic << ": not every event was delivered or announced";
    }
    EXPECT_EQ(gap_repair_.reorder_buffer_bytes(), 0u);
    EXPECT_EQ(gap_repair_.next_deadline(), Clock::time_point::max());
  }

  std::mt19937 random_;
  std::mt19937 prefetch_random_{1};  // separate, so that it does not change the run
  Faults faults_;
  std::size_t reorder_buffer_bytes_max_;
  GapRepair gap_repair_;
  Clock::time_point now_{std::chrono::hours{1}};
  std::deque<Timed> live_;
  Clock::time_point live_at_{};
  std::deque<Timed> control_;
  bool timed_out_ = false;

  std::uint64_t stream_ = 0x0000'0005'0000'0001;
  std::uint64_t position_ = 0;
  std::map<std::string, wire::Stamp> tails_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Published> published_;
  std::map<std::tuple<std::uint64_t, std::string, std::uint64_t>, std::uint64_t> offsets_;

  std::uint64_t delivering_ = stream_;
  std::uint64_t highest_ = 0;
  std::uint64_t begin_ = 0;  // the position at which the subscription became active
  std::map<std::string, std::uint64_t> next_;
  std::set<std::string, std::less<>> seen_;
};

struct Totals {
  int delivered = 0;
  int gaps = 0;
  int resets = 0;
  std::uint64_t recovered = 0;
  std::uint64_t late = 0;
  std::uint64_t discarded = 0;
};

Totals run_many(const Faults& faults, std::uint32_t runs) {
  Totals totals;
  for (std::uint32_t seed = 1; seed <= runs && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Simulation simulation{seed, faults};
    simulation.run();
    totals.delivered += simulation.delivered;
    totals.gaps += simulation.gaps;
    totals.resets += simulation.resets;
    totals.recovered += simulation.counters().recovered;
    totals.late += simulation.counters().late;
    totals.discarded += simulation.counters().discarded;
  }
  fmt::print("{} delivered, {} recovered, {} late, {} gaps, {} resets\n", totals.delivered, totals.recovered,
             totals.late, totals.gaps, totals.resets);
  return totals;
}

constexpr std::uint32_t runs_each = 250;

TEST(GapRepairModel, WithoutLossesNothingIsRecoveredLateOrAnnounced) {
  const Totals totals = run_many({.control_delay_ms_max = 40, .live_delay_ms_max = 60}, runs_each);
  EXPECT_GT(totals.delivered, 0);
  EXPECT_EQ(totals.recovered, 0u);
  EXPECT_EQ(totals.late, 0u);
  EXPECT_EQ(totals.gaps, 0);
}

TEST(GapRepairModel, EveryLostEventIsRecoveredWhileHistoryHoldsIt) {
  const Totals totals =
      run_many({.loss_percent = 20, .control_delay_ms_max = 40, .live_delay_ms_max = 60}, runs_each);
  EXPECT_GT(totals.recovered, 0u);
  EXPECT_EQ(totals.gaps, 0);
}

TEST(GapRepairModel, OnlyEvictedEventsAreAnnouncedAsLost) {
  const Totals totals = run_many(
      {.loss_percent = 20, .eviction_percent = 10, .control_delay_ms_max = 40, .live_delay_ms_max = 60},
      runs_each);
  EXPECT_GT(totals.recovered, 0u);
  EXPECT_GT(totals.gaps, 0);
}

TEST(GapRepairModel, TimeoutsTurnHolesIntoGapsInTheirPlace) {
  const Totals totals = run_many({.loss_percent = 20,
                                  .eviction_percent = 5,
                                  .timeout_percent = 40,
                                  .control_delay_ms_max = 40,
                                  .live_delay_ms_max = 60,
                                  .recovery_limit = 1000ms},
                                 runs_each);
  EXPECT_GT(totals.recovered, 0u);
  EXPECT_GT(totals.gaps, 0);
}

TEST(GapRepairModel, NoTimeLimitAppliesWhileTheBrokerReplies) {
  const Totals totals = run_many(
      {.loss_percent = 40, .control_delay_ms_max = 90, .live_delay_ms_max = 60, .recovery_limit = 100ms},
      runs_each);
  EXPECT_GT(totals.recovered, 0u);
  EXPECT_EQ(totals.gaps, 0);
}

TEST(GapRepairModel, AFullReorderBufferLosesNothingThatHistoryHolds) {
  const Totals totals = run_many({.loss_percent = 20,
                                  .control_delay_ms_max = 90,
                                  .live_delay_ms_max = 60,
                                  .reorder_buffer_bytes_max = 600},
                                 runs_each);
  EXPECT_GT(totals.discarded, 0u);
  EXPECT_EQ(totals.gaps, 0);
}

TEST(GapRepairModel, WithAFullReorderBufferOnlyEvictedEventsAreAnnouncedAsLost) {
  const Totals totals = run_many({.loss_percent = 30,
                                  .eviction_percent = 10,
                                  .control_delay_ms_max = 200,
                                  .live_delay_ms_max = 60,
                                  .reorder_buffer_bytes_max = 3000},
                                 runs_each);
  EXPECT_GT(totals.discarded, 0u);
  EXPECT_GT(totals.gaps, 0);
}

TEST(GapRepairModel, ARestartIsAResetAndTheNewStreamIsReadFromItsBeginning) {
  const Totals totals = run_many({.loss_percent = 10,
                                  .eviction_percent = 5,
                                  .timeout_percent = 5,
                                  .control_delay_ms_max = 40,
                                  .live_delay_ms_max = 60,
                                  .restarts = true,
                                  .recovery_limit = 1000ms},
                                 runs_each);
  EXPECT_GT(totals.recovered, 0u);
  EXPECT_GT(totals.resets, 0);
}

}  // namespace
}  // namespace backplane::follower
