// Brokers that apply the same log publish the same bytes.

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "broker/log/replicated_log.hpp"
#include "broker/log/state_checkpoint.hpp"
#include "broker/pipeline.hpp"
#include "tests/broker/log/entries.hpp"
#include "tests/broker/log/random.hpp"
#include "tests/broker/log/simulated_log.hpp"
#include "tests/broker/state/manual_history.hpp"

namespace backplane::broker {
namespace {

using testing::event_bytes;
using testing::MadeEntry;
using testing::Random;
using testing::SimulatedLog;
using testing::sparse_event_bytes;

constexpr std::uint64_t log_id = 4711;
constexpr std::uint64_t stream_id = 0x1122'3344'5566'7788;
// Few, so that the limits decide about many events.
constexpr std::size_t max_topics = 24;
constexpr std::size_t max_sessions = 7;
const std::vector<std::string> users{"", "alice", "bob", "carol"};

/// Makes a log in which everything occurs that stage 2 decides about.
class RandomLog {
 public:
  explicit RandomLog(std::uint64_t seed) : random_(seed) {
    for (const char* name : {"h1", "h2", "h3"}) brokers_.push_back({name, 0, 0, {}});
  }

  std::vector<std::string> make(std::size_t batches) {
    while (records_.size() < batches) add_batch();
    return std::move(records_);
  }

 private:
  struct Broker {
    std::string name;
    std::uint64_t incarnation;
    std::uint64_t number;
    std::vector<std::string> earlier;  // batches
  };

  void add_batch() {
    Broker& broker = brokers_[random_.below(brokers_.size())];
    if (broker.incarnation == 0 || random_.one_in(40)) {
      BatchWriter writer(broker.name);
      writer.add_join(broker.incarnation);
      broker.incarnation = random_() | 1;
      broker.number = 0;
      return append(broker, finish(writer, broker));
    }
    BatchWriter writer(broker.name);
    for (std::uint64_t left = random_.below(20); left > 0; --left) add_entry(writer);
    ++broker.number;
    if (random_.one_in(25)) {  // it is missing at first
      const std::string missing = finish(writer, broker);
      ++broker.number;
      BatchWriter next(broker.name);
      add_entry(next);
      const std::string after = finish(next, broker);
      records_.push_back(after);
      append(broker, missing);
      return append(broker, after);
    }
    append(broker, finish(writer, broker));
    // Late copies, also of earlier incarnations.
    if (random_.one_in(8)) records_.push_back(broker.earlier[random_.below(broker.earlier.size())]);
  }

  void add_entry(BatchWriter& writer) {
    const std::uint64_t publisher = random_.below(12);
    const std::string source = fmt::format("source{}", publisher % 5);
    std::uint64_t& sequence = sequences_[publisher];
    const std::string topic = fmt::format("topic.{}", random_.below(40));
    const std::string& user =
        users[random_.one_in(10) ? random_.below(users.size()) : publisher % users.size()];
    const Peer peer{1 + publisher * 10 + (random_.one_in(5) ? random_.below(4) : 0)};
    switch (random_.below(14)) {
      case 0:
        return writer.add(MadeEntry(LogEntry::Kind::raw, topic, fmt::format("{}", random_.below(100))).entry,
                          "", Peer{});
      case 1: {
        MadeEntry refused(LogEntry::Kind::refused, "", event_bytes(source, publisher, ++sequence, "x"));
        refused.entry.refused = random_.one_in(2) ? Refusal::not_permitted : Refusal::bad_topic;
        return writer.add(refused.entry, user, peer);
      }
      case 2:
        return writer.add(MadeEntry(fmt::format("$SYS.source.{}", random_.below(9)),
                                    {.session = random_.below(3),
                                     .up = random_.one_in(2),
                                     .owner = random_.one_in(2) ? 0 : brokers_[random_.below(3)].incarnation})
                              .entry,
                          "", Peer{});
      case 3:  // a duplicate, or out of order
        return writer.add(MadeEntry(LogEntry::Kind::event, topic,
                                    event_bytes(source, publisher, 1 + random_.below(sequence + 1), "again"))
                              .entry,
                          user, peer);
      case 4:
      case 5: {  // of a link: some are missing, some stand for lost events
        const std::uint64_t link = random_.below(links_.size());
        std::uint64_t& last = links_[link];
        const std::uint64_t after = last;
        last += 1 + random_.below(20);
        if (random_.one_in(8)) return;
        const std::string bytes = sparse_event_bytes(fmt::format("link{}", link), 100 + link, last, after,
                                                     random_.one_in(2) ? random_.below(1000) : 0);
        if (!random_.one_in(8)) {
          writer.add(MadeEntry(LogEntry::Kind::event, topic, bytes).entry, user, peer);
        } else {
          MadeEntry refused(LogEntry::Kind::refused, "", bytes);
          refused.entry.refused = Refusal::not_permitted;
          writer.add(refused.entry, user, peer);
        }
        if (random_.one_in(4)) last = after;  // what is not admitted is sent again
        return;
      }
      case 6:
        sequence += random_.below(3);
        [[fallthrough]];
      default:
        return writer.add(MadeEntry(LogEntry::Kind::event, topic,
                                    event_bytes(source, publisher, ++sequence,
                                                random_.one_in(6) ? "" : fmt::format("text {}", sequence)))
                              .entry,
                          user, peer);
    }
  }

  std::string finish(BatchWriter& writer, const Broker& broker) {
    // Clocks are an hour apart, and step.
    wall_ns_ += static_cast<std::int64_t>(random_.below(1'000));
    const std::int64_t skew = static_cast<std::int64_t>(random_.below(3)) * 3'600'000'000'000;
    return writer.finish({.log = log_id,
                          .broker = broker.name,
                          .incarnation = broker.incarnation,
                          .number = broker.number,
                          .wall_ns = wall_ns_ + skew});
  }
  void append(Broker& broker, const std::string& batch) {
    records_.push_back(batch);
    broker.earlier.push_back(batch);
  }

  Random random_;
  std::vector<Broker> brokers_;
  std::array<std::uint64_t, 12> sequences_{};
  std::array<std::uint64_t, 2> links_{};
  std::int64_t wall_ns_{1'700'000'000'000'000'000};
  std::vector<std::string> records_;
};

class Sink final : public EgressSink {
 public:
  void publish(zmq::message_t& topic, zmq::message_t& event) override {
    sent.push_back(topic.to_string() + '\n' + event.to_string());
    topic.rebuild();
    event.rebuild();
  }
  std::vector<std::string> sent;
};

/// A broker that reads the log, at its own pace.
class Replica {
 public:
  /// @param stored its store has the events up to this position
  Replica(SimulatedLog& log, std::uint64_t seed, const std::optional<std::string>& checkpoint = {},
          std::uint64_t stored = 0)
      : random_(seed), store_(new ManualHistory), state_("test", max_topics, max_sessions, owned_store()) {
    state_.stream = stream_id;
    state_.max_event_bytes = 1000;
    // It knows users by other numbers than the others do.
    std::vector<std::string> names(users.begin() + 1, users.end());
    std::ranges::shuffle(names, std::mt19937_64(seed));
    for (const std::string& each : names) access_.number_of_name(each);
    ReplicatedLog::Options options;
    options.broker = fmt::format("reader{}", seed);
    options.log = log_id;
    auto made = std::make_unique<ReplicatedLog>(log.connect(), access_, options);
    log_ = made.get();
    if (checkpoint) {
      auto place = restore_state(*checkpoint, state_, access_);
      EXPECT_TRUE(place) << place.error().text;
      log_->restore(std::move(*place));
    }
    started_at = std::max(state_.position, stored);
    pipeline_.emplace(
        state_, access_, sink, [this] { return static_cast<std::int64_t>(random_()); }, std::move(made));
    pipeline_->continue_after(stored);
  }

  void turn() {
    store_->writes_at_once = random_.one_in(3);
    store_->answer = random_.one_in(4) ? HistoryStore::Accepted::busy : HistoryStore::Accepted::accepted;
    if (!store_->writes_at_once) store_->written += random_.below(store_->last_batch - store_->written + 1);
    static_cast<void>(pipeline_->flush());
  }
  void finish() {
    store_->answer = HistoryStore::Accepted::accepted;
    store_->writes_at_once = true;
    store_->written = store_->last_batch;
    static_cast<void>(pipeline_->flush());
    store_->written = store_->last_batch;
    static_cast<void>(pipeline_->flush());
    EXPECT_EQ(pipeline_->pending(), 0u);
  }
  [[nodiscard]] std::string checkpoint() const { return encode_state(state_, access_, log_->place()); }
  [[nodiscard]] std::uint64_t index() const { return log_->place().index; }
  [[nodiscard]] std::uint64_t published_position() const {
    return std::max(started_at, state_.published_position());
  }
  [[nodiscard]] const ReplicatedLog& log() const { return *log_; }
  [[nodiscard]] const BackplaneState& state() const { return state_; }

  Sink sink;
  std::uint64_t started_at{};

 private:
  std::unique_ptr<HistoryStore> owned_store() { return std::unique_ptr<HistoryStore>(store_); }

  Random random_;
  ManualHistory* store_;
  BackplaneState state_;
  Access access_;
  ReplicatedLog* log_{};
  std::optional<Pipeline> pipeline_;
};

/// The log is delivered piece by piece.
void let_arrive(SimulatedLog& log, const std::vector<std::string>& all, Random& random) {
  const std::size_t more = std::min<std::size_t>(all.size() - log.records.size(), random.below(30));
  const auto from = all.begin() + static_cast<std::ptrdiff_t>(log.records.size());
  log.records.insert(log.records.end(), from, from + static_cast<std::ptrdiff_t>(more));
}

/// What `reference` has published after a position. Lost events have one, and are not published.
std::span<const std::string> sent_after(const Replica& reference, std::uint64_t position) {
  const std::span<const std::string> sent(reference.sink.sent);
  const auto first = std::ranges::find_if(sent, [&](const std::string& each) {
    return wire::read_stamp(std::as_bytes(std::span(each)))->position > position;
  });
  return sent.subspan(static_cast<std::size_t>(first - sent.begin()));
}

/// `other` has published the same, up to a point.
void expect_start_of_stream(const Replica& reference, const Replica& other, std::uint64_t seed) {
  const auto expected = sent_after(reference, other.started_at);
  ASSERT_LE(other.sink.sent.size(), expected.size()) << "seed " << seed;
  for (std::size_t i = 0; i < other.sink.sent.size(); ++i) {
    ASSERT_EQ(other.sink.sent[i], expected[i])
        << "seed " << seed << ", event " << i + 1 << " after position " << other.started_at;
  }
}

void expect_same_stream(const Replica& reference, const Replica& other, std::uint64_t seed) {
  ASSERT_EQ(reference.started_at, 0u);
  ASSERT_EQ(other.sink.sent.size(), sent_after(reference, other.started_at).size()) << "seed " << seed;
  expect_start_of_stream(reference, other, seed);
  EXPECT_EQ(other.state().offsets_without_position, reference.state().offsets_without_position);
}

class Determinism : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  void SetUp() override { log::set_level(log::Level::off); }
};

TEST_P(Determinism, OneLogGivesTheSameBytesWhateverBatchingRestartsAndClocks) {
  const std::uint64_t seed = GetParam();
  const std::vector<std::string> all = RandomLog(seed).make(600);

  SimulatedLog whole(seed);
  whole.records = all;
  Replica reference(whole, 1);
  reference.finish();
  ASSERT_EQ(reference.index(), all.size());
  ASSERT_GT(reference.sink.sent.size(), 500u);
  EXPECT_GE(reference.state().topics.size(), max_topics) << "the limit decides about events";
  EXPECT_GT(reference.state().sessions.evicted(), 0u);
  EXPECT_GT(reference.state().offsets_without_position, 0u);
  EXPECT_GT(reference.log().counters().duplicates, 0u);
  EXPECT_GT(reference.log().counters().holes, 0u);

  for (std::uint64_t replica = 2; replica <= 5; ++replica) {
    Random random(seed * 100 + replica);
    SimulatedLog log(seed + replica);
    log.faults.nothing_read = 0.3;
    log.faults.read_again = 0.1;
    log.faults.read_skipped = 0.02;
    std::vector<std::unique_ptr<Replica>> lives;
    lives.push_back(std::make_unique<Replica>(log, replica));
    std::string checkpoint = lives.back()->checkpoint();
    for (int turns = 0; lives.back()->index() < all.size(); ++turns) {
      ASSERT_LT(turns, 100'000);
      let_arrive(log, all, random);
      lives.back()->turn();
      ASSERT_FALSE(lives.back()->log().condition().failed) << lives.back()->log().condition().text;
      if (random.one_in(20)) checkpoint = lives.back()->checkpoint();
      if (random.one_in(40)) {
        const Replica& last = *lives.back();
        const std::uint64_t stored = random.one_in(2) ? last.published_position() : 0;
        lives.push_back(std::make_unique<Replica>(log, replica, checkpoint, stored));
      }
    }
    lives.back()->finish();
    expect_same_stream(reference, *lives.back(), seed);
    EXPECT_EQ(lives.back()->checkpoint(), reference.checkpoint()) << "seed " << seed;
    // Before it ended, each incarnation published a part of the same.
    for (const auto& each : lives) expect_start_of_stream(reference, *each, seed);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Determinism, ::testing::Range<std::uint64_t>(1, 9));

TEST(DeterminismTime, ReceivedTimesNeverGoBack) {
  log::set_level(log::Level::off);
  SimulatedLog log(1);
  log.records = RandomLog(3).make(200);
  Replica replica(log, 1);
  replica.finish();
  std::int64_t last = 0;
  for (const std::string& each : replica.sink.sent) {
    const auto stamp = wire::read_stamp(std::as_bytes(std::span(each)));
    ASSERT_TRUE(stamp);
    EXPECT_EQ(stamp->stream, stream_id);
    EXPECT_GE(stamp->received_ns, last);
    last = stamp->received_ns;
  }
}

TEST(DeterminismCheckpoint, ADamagedOneIsRefused) {
  log::set_level(log::Level::off);
  SimulatedLog log(1);
  log.records = RandomLog(4).make(50);
  Replica replica(log, 1);
  replica.finish();
  const std::string good = replica.checkpoint();
  for (std::size_t at = 0; at < good.size(); at += 7) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    BackplaneState state("test", max_topics, max_sessions, std::make_unique<ManualHistory>());
    Access access;
    EXPECT_FALSE(restore_state(bad, state, access)) << at;
    BackplaneState other("test", max_topics, max_sessions, std::make_unique<ManualHistory>());
    EXPECT_FALSE(restore_state(std::string_view(good).substr(0, at), other, access)) << at;
  }
}

}  // namespace
}  // namespace backplane::broker
