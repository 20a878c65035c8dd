// Several brokers and publishers on a log whose ways in and out lose, repeat and reorder.

#include "broker/log/replicated_log.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/log/state_checkpoint.hpp"
#include "broker/pipeline.hpp"
#include "tests/broker/log/entries.hpp"
#include "tests/broker/log/random.hpp"
#include "tests/broker/log/simulated_log.hpp"
#include "tests/broker/state/manual_history.hpp"

namespace backplane::broker {
namespace {

using std::chrono::milliseconds;
using testing::event_bytes;
using ::testing::HasSubstr;
using testing::LogFaults;
using testing::Random;
using testing::SimulatedLog;

constexpr std::uint64_t log_id = 4711;

/// What brokers publish, by position: each position has the same bytes at all of them.
class Streams {
 public:
  void publish(std::uint64_t position, const std::string& topic, const std::string& event) {
    if (position == 0 || position > events.size() + 1) {
      ADD_FAILURE() << "position " << position << " after " << events.size();
      return;
    }
    if (position == events.size() + 1) {
      events.emplace_back(topic, event);
      return;
    }
    ASSERT_EQ(events[position - 1], std::pair(topic, event)) << "position " << position;
  }
  std::vector<std::pair<std::string, std::string>> events;
};

class Broker final : public EgressSink {
 public:
  Broker(SimulatedLog& log, Streams& streams, const std::string& name, std::uint64_t seed,
         const std::uint64_t& now_ms, const std::optional<std::string>& checkpoint = {})
      : streams_(streams), random_(seed) {
    state_.stream = 99;
    state_.max_event_bytes = 1000;
    ReplicatedLog::Options options;
    options.broker = name;
    options.log = log_id;
    options.batch_bytes_max = 2000;
    options.queue_bytes_max = 8000;
    options.retry_after = milliseconds{30};
    options.retry_pause = milliseconds{3};
    options.heartbeat = milliseconds{40};
    options.now = [&now_ms] { return ReplicatedLog::SteadyClock::time_point(milliseconds{now_ms}); };
    options.unix_now_ns = [this] { return static_cast<std::int64_t>(random_.below(1'000'000)); };
    options.random = [this] { return random_(); };
    auto made = std::make_unique<ReplicatedLog>(log.connect(), access_, options);
    log_ = made.get();
    if (checkpoint) {
      auto place = restore_state(*checkpoint, state_, access_);
      EXPECT_TRUE(place) << place.error().text;
      log_->restore(std::move(*place));
    }
    published_ = state_.position;
    pipeline_.emplace(
        state_, access_, *this, [] { return std::int64_t{0}; }, std::move(made));
  }

  /// @returns whether it takes events.
  bool turn() {
    accepts_ = pipeline_->flush();
    return accepts_;
  }
  void take(const std::string& topic, const std::string& bytes) {
    zmq::message_t first(topic);
    zmq::message_t second(bytes);
    pipeline_->take(first, second);
  }
  /// Without a session, only the fences prevent duplicates.
  void take_raw(const std::string& bytes) {
    zmq::message_t first(std::string("raw"));
    zmq::message_t second(bytes);
    pipeline_->take_raw(first, second);
  }
  void announce(const std::string& source) {
    const SourceChange change{.session = 1, .up = random_.one_in(2)};
    pipeline_->publish_source("$SYS.source." + source, event_bytes("broker@test", 0, 0, "changed"), change);
  }
  [[nodiscard]] bool accepts() const { return accepts_; }
  [[nodiscard]] std::string checkpoint() const { return encode_state(state_, access_, log_->place()); }
  [[nodiscard]] ReplicatedLog& log() { return *log_; }
  [[nodiscard]] const BackplaneState& state() const { return state_; }

 private:
  void publish(zmq::message_t& topic, zmq::message_t& event) override {
    const std::string bytes = event.to_string();
    const auto stamp = wire::read_stamp(std::as_bytes(std::span(bytes)));
    ASSERT_TRUE(stamp);
    ASSERT_EQ(stamp->position, ++published_);
    streams_.publish(stamp->position, topic.to_string(), bytes);
    topic.rebuild();
    event.rebuild();
  }

  Streams& streams_;
  Random random_;
  BackplaneState state_{"test", 1000, 64, std::make_unique<ManualHistory>()};
  Access access_;
  ReplicatedLog* log_{};
  std::optional<Pipeline> pipeline_;
  std::uint64_t published_{};
  bool accepts_{};
};

/// A publisher as our library is: it resends what is not confirmed when it comes to another broker.
class Publisher {
 public:
  Publisher(std::size_t number, std::uint64_t seed)
      : source(fmt::format("p{}", number)), session_(1000 + number), random_(seed) {}

  void move_to(Broker* broker) {
    broker_ = broker;
    sent_ = 0;
    barrier_.reset();
  }
  void lose(const Broker* broker) {
    if (broker_ == broker) move_to(nullptr);
  }
  [[nodiscard]] bool has_broker() const { return broker_ != nullptr; }

  void turn(bool makes_more) {
    if (makes_more && unconfirmed_.size() < 30) {
      for (std::uint64_t left = random_.below(4); left > 0; --left) make();
    }
    if (broker_ == nullptr) return;
    if (sent_ == 0 && !barrier_ && !unconfirmed_.empty()) barrier_ = broker_->log().barrier();
    if (barrier_ && broker_->log().reached(*barrier_)) confirm();
    for (; sent_ < unconfirmed_.size() && broker_->accepts() && random_.below(5) > 0; ++sent_) {
      broker_->take(unconfirmed_[sent_].topic, unconfirmed_[sent_].bytes);
    }
    if (!barrier_ && !unconfirmed_.empty() && random_.one_in(6)) barrier_ = broker_->log().barrier();
  }
  [[nodiscard]] bool is_done() const { return unconfirmed_.empty(); }

  const std::string source;
  std::vector<std::uint64_t> good;  ///< sequences of events that are to be admitted

 private:
  struct Event {
    std::uint64_t sequence;
    std::string topic;
    std::string bytes;
  };
  void make() {
    const std::uint64_t sequence = ++last_;
    const bool is_bad = random_.one_in(9);
    if (!is_bad) good.push_back(sequence);
    unconfirmed_.push_back(
        {sequence, is_bad ? "bad..topic" : fmt::format("t{}", random_.below(9)),
         event_bytes(source, session_, sequence, std::string(random_.below(200) + 1, 'x'))});
  }
  void confirm() {
    barrier_.reset();
    const SessionEntry* const session = broker_->state().sessions.find(source, session_);
    if (session == nullptr) return;
    const std::uint64_t through = std::max(session->sequence, session->refused_sequence);
    while (!unconfirmed_.empty() && unconfirmed_.front().sequence <= through) {
      unconfirmed_.pop_front();
      if (sent_ > 0) --sent_;
    }
  }

  std::uint64_t session_;
  Random random_;
  Broker* broker_{};
  std::deque<Event> unconfirmed_;
  std::size_t sent_{0};
  std::uint64_t last_{0};
  std::optional<std::uint64_t> barrier_;
};

class Cluster {
 public:
  explicit Cluster(std::uint64_t seed) : log(seed), random(seed * 7919) {
    for (std::size_t i = 0; i < 3; ++i) brokers.push_back(start(i, {}));
    for (std::size_t i = 0; i < 5; ++i) publishers.push_back(std::make_unique<Publisher>(i, random()));
  }

  void turn(bool makes_more) {
    ++now_ms;
    log.step();
    for (const auto& each : brokers) {
      each->turn();
      ASSERT_FALSE(each->log().condition().failed) << each->log().condition().text;
      if (!each->log().has_joined() && each->log().place().index >= log.records.size()) each->log().join();
    }
    for (const auto& each : publishers) {
      if (!each->has_broker()) each->move_to(brokers[random.below(brokers.size())].get());
      each->turn(makes_more);
    }
  }
  void kill_one() {
    const std::size_t which = random.below(brokers.size());
    for (const auto& each : publishers) each->lose(brokers[which].get());
    std::optional<std::string> checkpoint;
    if (!checkpoints.empty() && !random.one_in(4)) checkpoint = checkpoints[random.below(checkpoints.size())];
    brokers[which].reset();
    brokers[which] = start(which, checkpoint);
  }
  void cause_trouble() {
    if (random.one_in(50)) checkpoints.push_back(brokers[random.below(brokers.size())]->checkpoint());
    if (random.one_in(30)) publishers[random.below(publishers.size())]->move_to(nullptr);
    if (random.one_in(40))
      brokers[random.below(brokers.size())]->announce(fmt::format("s{}", random.below(5)));
    if (Broker& broker = *brokers[random.below(brokers.size())]; random.one_in(3) && broker.accepts()) {
      broker.take_raw(fmt::format("raw {}", ++raw_events));
    }
    if (random.one_in(150)) kill_one();
  }
  [[nodiscard]] bool is_settled() const {
    return log.is_quiet() &&
           std::ranges::all_of(publishers, [](const auto& each) { return each->is_done(); }) &&
           std::ranges::all_of(brokers, [&](const auto& each) {
             return each->log().is_idle() && each->log().place().index == log.records.size();
           });
  }
  /// Until everything is confirmed and applied everywhere.
  void settle() {
    log.faults = {};
    for (int turns = 0; !is_settled(); ++turns) {
      ASSERT_LT(turns, 5'000) << "it does not settle";
      turn(false);
    }
  }

  std::unique_ptr<Broker> start(std::size_t which, const std::optional<std::string>& checkpoint) {
    return std::make_unique<Broker>(log, streams, fmt::format("h{}", which), random(), now_ms, checkpoint);
  }

  SimulatedLog log;
  Streams streams;
  Random random;
  std::uint64_t now_ms{1'000};
  std::vector<std::unique_ptr<Broker>> brokers;
  std::vector<std::unique_ptr<Publisher>> publishers;
  std::vector<std::string> checkpoints;
  std::uint64_t raw_events{};
};

void expect_exactly_once(const Cluster& cluster) {
  std::map<std::string, std::vector<std::uint64_t>> admitted;
  std::set<std::string_view> raw;
  for (const auto& [topic, event] : cluster.streams.events) {
    const wire::ScanResult scan = wire::scan_event(wire::without_stamp(std::as_bytes(std::span(event))));
    if (scan.event.source == "raw") {
      EXPECT_TRUE(raw.insert(scan.event.body).second) << "twice: " << scan.event.body;
    }
    if (scan.event.sequence != 0) admitted[std::string(scan.event.source)].push_back(scan.event.sequence);
  }
  for (const auto& each : cluster.publishers) {
    EXPECT_EQ(admitted[each->source], each->good) << each->source << ": in order, each once, none missing";
  }
  EXPECT_GT(raw.size(), cluster.raw_events / 4) << "lost only with their broker";
  const std::string checkpoint = cluster.brokers.front()->checkpoint();
  for (const auto& each : cluster.brokers) EXPECT_EQ(each->checkpoint(), checkpoint);
}

struct Scenario {
  const char* name;
  LogFaults faults;
  bool skips_known_ids;
};
void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

class UnreliableLog : public ::testing::TestWithParam<Scenario> {
 protected:
  void SetUp() override { log::set_level(log::Level::off); }
};

TEST_P(UnreliableLog, AllBrokersGiveOneStreamWithEveryEventOnceAndInOrder) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    Cluster cluster(seed);
    cluster.log.faults = GetParam().faults;
    cluster.log.skips_known_ids = GetParam().skips_known_ids;
    for (int turns = 0; turns < 1'500; ++turns) {
      cluster.turn(true);
      if (HasFatalFailure()) return;
      cluster.cause_trouble();
    }
    cluster.settle();
    if (HasFatalFailure()) return;
    EXPECT_GT(cluster.streams.events.size(), 500u);
    expect_exactly_once(cluster);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Faults, UnreliableLog,
    ::testing::Values(
        Scenario{"none", {.delay_max = 3}, false},
        Scenario{"appends_lost", {.append_lost = 0.2, .delay_max = 3}, true},
        Scenario{"appends_repeated", {.append_repeated = 0.3, .delay_max = 8}, false},
        Scenario{"replies_lost", {.reply_lost = 0.3, .delay_max = 3}, false},
        Scenario{"replies_lost_and_ids_known", {.reply_lost = 0.3, .delay_max = 3}, true},
        Scenario{"replies_fail", {.reply_fails = 0.3, .delay_max = 20}, false},
        Scenario{"confirmed_batches_lost", {.reply_lies = 0.05, .delay_max = 3}, true},
        Scenario{"reads_repeated", {.read_again = 0.3, .delay_max = 3}, false},
        Scenario{"reads_skipped", {.nothing_read = 0.2, .read_skipped = 0.05, .delay_max = 3}, false},
        Scenario{"slower_than_the_retries", {.append_repeated = 0.1, .delay_max = 100}, false},
        Scenario{"all",
                 {.append_lost = 0.1,
                  .append_repeated = 0.1,
                  .reply_lost = 0.1,
                  .reply_fails = 0.1,
                  .reply_lies = 0.02,
                  .nothing_read = 0.1,
                  .read_again = 0.1,
                  .read_skipped = 0.02,
                  .delay_max = 20},
                 true}),
    [](const auto& scenario) { return scenario.param.name; });

class ReplicatedLogTest : public ::testing::Test {
 protected:
  ReplicatedLogTest() { log::set_level(log::Level::off); }
  std::unique_ptr<Broker> broker(const std::string& name) {
    return std::make_unique<Broker>(log, streams, name, ++seed, now_ms);
  }
  void turn(std::initializer_list<Broker*> brokers, int turns = 20) {
    for (; turns > 0; --turns) {
      ++now_ms;
      log.step();
      for (Broker* const each : brokers) each->turn();
    }
  }

  SimulatedLog log{1};
  Streams streams;
  std::uint64_t now_ms{1'000};
  std::uint64_t seed{0};
};

TEST_F(ReplicatedLogTest, AnEventOfOneBrokerIsPublishedByAll) {
  const auto h1 = broker("h1");
  const auto h2 = broker("h2");
  h1->log().join();
  h2->log().join();
  turn({h1.get(), h2.get()});
  h1->take("t", event_bytes("s", 1, 1, "x"));
  EXPECT_EQ(streams.events.size(), 0u);
  turn({h1.get(), h2.get()});
  EXPECT_EQ(streams.events.size(), 1u);
  EXPECT_EQ(h1->state().counters.published_total, 1u);
  EXPECT_EQ(h2->state().counters.published_total, 1u);
  EXPECT_EQ(h2->state().counters.received_total, 0u);
  EXPECT_EQ(h1->checkpoint(), h2->checkpoint());
}

TEST_F(ReplicatedLogTest, ADuplicateIsCountedByTheBrokerThatReceivedIt) {
  const auto h1 = broker("h1");
  const auto h2 = broker("h2");
  h1->log().join();
  h2->log().join();
  turn({h1.get(), h2.get()});
  h1->take("t", event_bytes("s", 1, 1, "x"));
  turn({h1.get(), h2.get()});
  h2->take("t", event_bytes("s", 1, 1, "x"));
  turn({h1.get(), h2.get()});
  const auto repeat = static_cast<std::size_t>(Refusal::repeat);
  EXPECT_EQ(h1->state().counters.rejected_total[repeat], 0u);
  EXPECT_EQ(h2->state().counters.rejected_total[repeat], 1u);
  EXPECT_EQ(streams.events.size(), 1u);
}

TEST_F(ReplicatedLogTest, WhileNothingIsAppendedTheQueueIsBoundedAndThenItContinues) {
  const auto h1 = broker("h1");
  h1->log().join();
  turn({h1.get()});
  log.faults.append_lost = 1;
  std::uint64_t taken = 0;
  while (h1->turn()) {
    ASSERT_LT(taken, 10'000u);
    h1->take("t", event_bytes("s", 1, ++taken, std::string(100, 'x')));
  }
  EXPECT_GT(taken, 30u);
  EXPECT_LT(taken, 150u);
  turn({h1.get()}, 100);
  EXPECT_EQ(streams.events.size(), 0u);
  log.faults.append_lost = 0;
  turn({h1.get()}, 100);
  EXPECT_EQ(streams.events.size(), taken);
  EXPECT_TRUE(h1->accepts());
}

TEST_F(ReplicatedLogTest, ABarrierIsReachedAfterEverythingThatWasInTheLog) {
  const auto h1 = broker("h1");
  const auto h2 = broker("h2");
  h1->log().join();
  h2->log().join();
  turn({h1.get(), h2.get()});
  h1->take("t", event_bytes("s", 1, 1, "x"));
  turn({h1.get()});  // h2 does not read
  const std::uint64_t barrier = h2->log().barrier();
  EXPECT_FALSE(h2->log().reached(barrier));
  for (int turns = 0; !h2->log().reached(barrier); ++turns) {
    ASSERT_LT(turns, 100);
    turn({h2.get()}, 1);
  }
  ASSERT_NE(h2->state().sessions.find("s", 1), nullptr);
  EXPECT_EQ(h2->state().sessions.find("s", 1)->sequence, 1u);
}

TEST_F(ReplicatedLogTest, ASecondBrokerOfTheSameNameEndsTheFirst) {
  const auto first = broker("h1");
  first->log().join();
  turn({first.get()});
  const auto second = broker("h1");
  turn({first.get(), second.get()});
  second->log().join();
  turn({first.get(), second.get()});
  EXPECT_TRUE(first->log().condition().failed);
  EXPECT_THAT(first->log().condition().text, HasSubstr("another broker has joined the log as \"h1\""));
  EXPECT_TRUE(first->log().is_replaced());
  EXPECT_FALSE(first->accepts());
  EXPECT_FALSE(second->log().condition().failed);
}

TEST_F(ReplicatedLogTest, ALateJoinOfAnEarlierProcessDoesNotStopTheNextOne) {
  log.faults.delay_max = 50;
  auto first = broker("h1");
  first->log().join();
  turn({first.get()}, 1);
  first.reset();  // its join is on its way
  const auto second = broker("h1");
  second->log().join();
  turn({second.get()}, 500);
  EXPECT_TRUE(second->log().has_joined());
  EXPECT_FALSE(second->log().condition().failed);
  second->take("t", event_bytes("s", 1, 1, "x"));
  turn({second.get()}, 200);
  EXPECT_EQ(streams.events.size(), 1u);
}

TEST_F(ReplicatedLogTest, ABatchOfAnotherLogStopsTheBroker) {
  const auto h1 = broker("h1");
  h1->log().join();
  turn({h1.get()});
  BatchWriter writer("x");
  log.records.push_back(writer.finish({.log = 1, .broker = "x"}));
  turn({h1.get()});
  EXPECT_TRUE(h1->log().condition().failed);
  EXPECT_THAT(h1->log().condition().text,
              HasSubstr("expected a batch of log 0000000000001267, got one of log 0000000000000001"));
  EXPECT_FALSE(h1->accepts());
}

TEST_F(ReplicatedLogTest, ADamagedBatchStopsTheBroker) {
  const auto h1 = broker("h1");
  h1->log().join();
  turn({h1.get()});
  log.records.emplace_back("not a batch, but of some length, so that it could have a header");
  turn({h1.get()});
  EXPECT_TRUE(h1->log().condition().failed);
  EXPECT_THAT(h1->log().condition().text, HasSubstr("expected a batch, got"));
}

TEST_F(ReplicatedLogTest, WhileABatchIsOnItsWayTheNextOneGrows) {
  const auto h1 = broker("h1");
  h1->log().join();
  turn({h1.get()});
  log.faults.delay_max = 15;
  const std::uint64_t appends = h1->log().counters().appends;
  for (std::uint64_t i = 1; i <= 40; ++i) {
    h1->take("t", event_bytes("s", 1, i, "x"));
    turn({h1.get()}, 1);
  }
  turn({h1.get()}, 30);
  EXPECT_EQ(streams.events.size(), 40u);
  EXPECT_LT(h1->log().counters().appends - appends, 20u);
  EXPECT_EQ(h1->log().counters().retries, 0u);
}

TEST_F(ReplicatedLogTest, ABrokerWhoseClockDiffersFromTheLogsTakesNothing) {
  constexpr std::int64_t second = 1'000'000'000;
  const auto h1 = broker("h1");  // its clock says less than a millisecond after 1970
  log.clock_ns = 9 * second;
  h1->log().join();
  turn({h1.get()});
  EXPECT_TRUE(h1->log().condition().accepts);
  log.clock_ns = 3'600 * second;
  turn({h1.get()}, 200);  // heartbeats
  EXPECT_FALSE(h1->log().condition().accepts);
  EXPECT_FALSE(h1->log().condition().failed);
  EXPECT_THAT(h1->log().condition().text, HasSubstr("the clock of this machine is 3599 s behind the log's"));
  EXPECT_FALSE(h1->accepts());
  log.clock_ns = second;
  turn({h1.get()}, 200);
  EXPECT_TRUE(h1->log().condition().accepts);
  EXPECT_TRUE(h1->accepts());
}

TEST_F(ReplicatedLogTest, TheTimeOfAJoinIsNotTheStreams) {
  const auto h1 = broker("h1");
  h1->log().join();
  turn({h1.get()}, 10);
  EXPECT_TRUE(h1->log().has_joined());
  EXPECT_EQ(h1->log().place().received_ns, 0) << "the clock of h1 has not been compared yet";
}

TEST_F(ReplicatedLogTest, ABrokerThatLeavesHasAppendedWhatItTook) {
  const auto h1 = broker("h1");
  const auto h2 = broker("h2");
  h1->log().join();
  h2->log().join();
  turn({h1.get(), h2.get()});
  h1->take("t", event_bytes("s", 1, 1, "x"));
  h1->log().leave();
  turn({h1.get(), h2.get()}, 20);
  EXPECT_TRUE(h1->log().has_left());
  EXPECT_EQ(h2->state().position, 1u);
  EXPECT_TRUE(h2->log().place().fences.members().at("h1").has_left);
  const std::uint64_t appends = h1->log().counters().appends;
  turn({h1.get()}, 500);
  EXPECT_EQ(h1->log().counters().appends, appends) << "no heartbeats";
}

TEST_F(ReplicatedLogTest, AnIdleBrokerAppendsHeartbeats) {
  const auto h1 = broker("h1");
  h1->log().join();
  turn({h1.get()}, 500);
  EXPECT_GT(log.records.size(), 5u);
  EXPECT_LT(log.records.size(), 20u);
  EXPECT_EQ(streams.events.size(), 0u);
}

}  // namespace
}  // namespace backplane::broker
