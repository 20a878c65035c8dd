#include "follower/broker_group.hpp"

#include <gmock/gmock.h>

#include "tests/follower/follower_fixture.hpp"

namespace backplane::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr std::uint64_t second_stream = 0x0000'0008'0000'0001;

class BrokerGroupTest : public ::testing::Test {
 protected:
  using Clock = std::chrono::steady_clock;

  BrokerGroup::Options both() {
    BrokerGroup::Options with;
    with.brokers = {{"", first.egress(), first.control()}, {"", second.egress(), second.control()}};
    with.broker_patience = patience;
    return with;
  }
  void start(const BrokerGroup::Options& with) { group.emplace(context, with, recorder); }
  void start() { start(both()); }
  /// Starts, subscribes, and waits until the subscription is active.
  void follow(const std::string& prefix) {
    start();
    const auto ticket = group->subscribe(prefix);
    ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  }

  template <class Condition>
  bool until(Condition condition) {
    const auto limit = Clock::now() + 10s;
    while (!condition()) {
      if (Clock::now() > limit) return false;
      first.do_work();
      second.do_work();
      if (group) group->do_work(Clock::now());
    }
    return true;
  }

  std::chrono::milliseconds patience = 100ms;
  FakeBroker first;
  FakeBroker second{second_stream};
  mq::Context context;
  Recorder recorder;
  std::optional<BrokerGroup> group;
};

TEST_F(BrokerGroupTest, DeliversTheEventsOfEveryBroker) {
  follow("a");
  EXPECT_THAT(recorder.connections, ElementsAre(true));
  first.publish("a", "from the first");
  second.publish("a", "from the second");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 2; }));
  EXPECT_THAT(recorder.texts, UnorderedElementsAre("from the first", "from the second"));
  EXPECT_EQ(group->status().seen, 2u);
  EXPECT_THAT(group->live_positions(), SizeIs(2));
}

TEST_F(BrokerGroupTest, ABrokerThatIsAwayDelaysNothingForLongerThanItsPatience) {
  first.close();
  follow("a");
  EXPECT_EQ(group->broker(), 1u);
  second.publish("a", "x");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 1; }));
  const auto later = group->subscribe("b");
  ASSERT_TRUE(until([&] { return recorder.live == later; }));
}

TEST_F(BrokerGroupTest, StaysConnectedWhileOneBrokerIsUp) {
  follow("a");
  first.close();
  ASSERT_TRUE(until([&] { return group->broker() == 1; }));
  second.publish("a", "still here");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 1; }));
  EXPECT_THAT(recorder.connections, ElementsAre(true));
  second.close();
  ASSERT_TRUE(until([&] { return recorder.connections.size() == 2; }));
  EXPECT_THAT(recorder.connections, ElementsAre(true, false));
  first.open();
  ASSERT_TRUE(until([&] { return recorder.connections.size() == 3; }));
}

TEST_F(BrokerGroupTest, ABrokerThatComesBackIsFollowedAgain) {
  follow("a");
  first.close();
  ASSERT_TRUE(until([&] { return group->broker() == 1; }));
  first.open();
  ASSERT_TRUE(until([&] { return group->broker() == 0; }));
  first.publish("a", "back");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 1; }));
  EXPECT_THAT(recorder.resets, IsEmpty());
}

TEST_F(BrokerGroupTest, AStreamThatBeganAfterTheReadingDidIsReadFromItsBeginning) {
  second.close();
  follow("a");
  second.age = 1ns;  // it has just begun
  second.publish("a", "before the reader came");
  second.open();
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 1; }));
  EXPECT_THAT(recorder.texts, ElementsAre("before the reader came"));
  EXPECT_THAT(recorder.gaps, IsEmpty());
}

TEST_F(BrokerGroupTest, AStreamThatIsOlderThanTheReadingIsReadFromNowOn) {
  second.close();
  follow("a");
  second.age = 1h;
  second.publish("a", "old");
  second.open();
  ASSERT_TRUE(until([&] { return group->live_positions().size() == 2; }));
  second.publish("a", "new");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 1; }));
  EXPECT_THAT(recorder.texts, ElementsAre("new"));
}

TEST_F(BrokerGroupTest, RetainedValuesOfAllBrokersAreOneReply) {
  first.values = {{"v.1", "one"}};
  second.values = {{"v.2", "two"}};
  start();
  const auto request = group->retained("v.>");
  ASSERT_TRUE(until([&] { return recorder.ended.contains(request); }));
  EXPECT_FALSE(recorder.ended[request]);
  EXPECT_THAT(recorder.retained[request], ElementsAre("v.1=one", "v.2=two"));
}

TEST_F(BrokerGroupTest, ARetainedRequestDoesNotWaitForABrokerThatGoesAway) {
  first.values = {{"v", "from the first"}};
  second.values = {{"v", "from the second"}};
  start();
  ASSERT_TRUE(until([&] { return group->connected() && group->live_positions().size() == 2; }));
  first.replies_to_requests = false;
  const auto request = group->retained("v");
  ASSERT_TRUE(until([&] { return !first.requests.empty(); }));
  first.close();
  ASSERT_TRUE(until([&] { return recorder.ended.contains(request); }));
  EXPECT_FALSE(recorder.ended[request]);
  EXPECT_THAT(recorder.retained[request], ElementsAre("v=from the second"));
}

TEST_F(BrokerGroupTest, HistoriesAreReadOneAfterTheOther) {
  first.publish("a", "first 1");
  first.publish("a", "first 2");
  second.publish("a", "second 1");
  start();
  const auto request = group->replay("a", SinceTime{0});
  ASSERT_TRUE(until([&] {
    auto& slices = recorder.slices[request];
    static std::size_t seen = 0;
    if (slices.size() > seen && !slices.back().complete) {
      seen = slices.size();
      group->replay_more(request);
    }
    return !slices.empty() && slices.back().complete;
  }));
  EXPECT_THAT(recorder.replayed[request], ElementsAre("first 1", "first 2", "second 1"));
  EXPECT_THAT(recorder.slices[request].back().through, SizeIs(2));
}

/// Two brokers of a cluster: they publish the same stream.
class ClusterGroupTest : public BrokerGroupTest {
 protected:
  static constexpr std::uint64_t stream = 0x0000'0007'0000'0001;

  void SetUp() override {
    second.restart_without_state(stream);
    patience = 10s;  // both are up when they are expected
  }
  void publish(const std::string& topic, const std::string& text) {
    first.publish(topic, text);
    second.publish(topic, text);
  }
  /// Which of them is subscribed to the prefix: "1", "2", "12" or "".
  std::string subscribed(const std::string& prefix) {
    return std::string(first.subscriptions.contains(prefix) ? "1" : "") +
           (second.subscriptions.contains(prefix) ? "2" : "");
  }
  /// The broker that is read, and the other one, when that is decided.
  void find_reading(FakeBroker*& reading, FakeBroker*& standby) {
    ASSERT_TRUE(until([&] { return subscribed("a").size() == 1; }));
    reading = subscribed("a") == "1" ? &first : &second;
    standby = reading == &first ? &second : &first;
  }
  void number(int from, int to) {
    for (int i = from; i <= to; ++i) publish("a", std::to_string(i));
  }
  std::vector<std::string> numbers(int to) {
    std::vector<std::string> all;
    for (int i = 1; i <= to; ++i) all.push_back(std::to_string(i));
    return all;
  }
};

TEST_F(ClusterGroupTest, OneStreamIsReadAtOneBroker) {
  follow("a");
  number(1, 3);
  ASSERT_TRUE(until([&] { return recorder.texts.size() >= 3 && subscribed("a").size() == 1; }));
  number(4, 6);
  ASSERT_TRUE(until([&] { return recorder.texts.size() >= 6; }));
  EXPECT_EQ(recorder.texts, numbers(6));
  EXPECT_THAT(group->live_positions(), SizeIs(1));
  EXPECT_THAT(recorder.connections, ElementsAre(true));
  EXPECT_THAT(recorder.resets, IsEmpty());
}

TEST_F(ClusterGroupTest, ItContinuesAtTheOtherBrokerExactlyWhereItWas) {
  follow("a");
  FakeBroker* reading{};
  FakeBroker* standby{};
  find_reading(reading, standby);
  number(1, 3);
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 3; }));
  const auto later = group->subscribe("b");
  ASSERT_TRUE(until([&] { return recorder.live == later; }));
  reading->close();
  number(4, 6);  // while nobody reads
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 6; }));
  number(7, 8);
  publish("b", "of the later subscription");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 9; }));
  recorder.texts.pop_back();
  EXPECT_EQ(recorder.texts, numbers(8));
  EXPECT_THAT(recorder.gaps, IsEmpty());
  EXPECT_THAT(recorder.resets, IsEmpty());
  EXPECT_THAT(recorder.connections, ElementsAre(true)) << "nobody notices";

  // And back, when the first is there again and the second goes away.
  reading->open();
  ASSERT_TRUE(until([&] { return !reading->live_checks.empty(); }));
  standby->close();
  number(9, 10);
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 10; }));
  EXPECT_EQ(recorder.texts, numbers(10));
  EXPECT_THAT(recorder.gaps, IsEmpty());
}

TEST_F(ClusterGroupTest, ABrokerThatIsBehindGivesNothingTwice) {
  follow("a");
  FakeBroker* reading{};
  FakeBroker* standby{};
  find_reading(reading, standby);
  for (int i = 1; i <= 5; ++i) reading->publish("a", std::to_string(i));
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 5; }));
  reading->close();
  ASSERT_TRUE(until([&] { return standby->subscriptions.contains("a"); }));
  for (int i = 1; i <= 6; ++i) standby->publish("a", std::to_string(i));
  ASSERT_TRUE(until([&] { return recorder.texts.size() >= 6; }));
  EXPECT_EQ(recorder.texts, numbers(6));
  EXPECT_THAT(recorder.resets, IsEmpty());
}

TEST_F(ClusterGroupTest, HistoryValuesAndTopicsAreThoseOfOneBroker) {
  first.values = second.values = {{"a", "3"}};
  number(1, 2);
  follow("a");
  const auto retained = group->retained("a");
  const auto replay = group->replay("a", SinceTime{0});
  ASSERT_TRUE(until([&] { return recorder.ended.contains(retained) && !recorder.slices[replay].empty(); }));
  EXPECT_THAT(recorder.retained[retained], ElementsAre("a=3"));
  EXPECT_THAT(recorder.replayed[replay], ElementsAre("1", "2"));
  EXPECT_TRUE(recorder.slices[replay].back().complete);
  EXPECT_THAT(recorder.slices[replay].back().through, SizeIs(1));
}

TEST_F(ClusterGroupTest, ARequestContinuesAtTheOtherBroker) {
  follow("a");
  FakeBroker* reading{};
  FakeBroker* standby{};
  find_reading(reading, standby);
  number(1, 2);
  reading->replies_to_requests = false;
  reading->requests.clear();
  const auto replay = group->replay("a", SinceTime{0});
  ASSERT_TRUE(until([&] { return !reading->requests.empty(); }));
  reading->close();
  ASSERT_TRUE(until([&] { return !recorder.slices[replay].empty(); }));
  EXPECT_THAT(recorder.replayed[replay], ElementsAre("1", "2"));
}

TEST_F(ClusterGroupTest, ABrokerWithAnotherStreamIsReadBesideIt) {
  follow("a");
  FakeBroker* reading{};
  FakeBroker* standby{};
  find_reading(reading, standby);
  standby->close();
  standby->restart_without_state(second_stream);
  standby->open();
  ASSERT_TRUE(until([&] { return subscribed("a") == "12"; }));
  reading->publish("a", "one");
  standby->publish("a", "other");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 2; }));
  EXPECT_THAT(group->live_positions(), SizeIs(2));
}

TEST_F(BrokerGroupTest, InvalidBrokersThrow) {
  auto with = both();
  with.brokers[1].control = "nonsense";
  EXPECT_THROW(start(with), std::invalid_argument);
  with.brokers[1] = with.brokers[0];
  EXPECT_THROW(start(with), std::invalid_argument);
  with.brokers.clear();
  EXPECT_THROW(start(with), std::invalid_argument);
}

TEST_F(BrokerGroupTest, KeepsItsDescriptor) {
  start();
  const auto fds = group->fds();
  ASSERT_THAT(fds, SizeIs(1));
  group->subscribe("a");
  first.close();
  ASSERT_TRUE(until([&] { return group->connected(); }));
  EXPECT_EQ(group->fds(), fds);
}

}  // namespace
}  // namespace backplane::testing
