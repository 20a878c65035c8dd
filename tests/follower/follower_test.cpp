#include "follower/follower.hpp"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <poll.h>

#include "follower/connection/live_check.hpp"
#include "tests/follower/follower_fixture.hpp"

namespace backplane::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

class FollowerTest : public FollowerFixture {};

TEST_F(FollowerTest, ReportsASubscriptionActiveOnlyAfterTheLiveReply) {
  broker.replies_to_live_checks = false;
  start();
  const auto ticket = follower->subscribe("clock");
  ASSERT_TRUE(until([&] { return broker.live_checks.size() == 1; }));
  for (int i = 0; i < 100; ++i) turn();
  EXPECT_EQ(recorder.live, 0u);
  EXPECT_FALSE(follower->connected());
  EXPECT_TRUE(broker.subscriptions.contains("clock"));
  broker.send_live_reply(broker.live_checks.back());
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  EXPECT_THAT(recorder.order, ElementsAre("up", "live"));
  EXPECT_TRUE(follower->connected());
}

TEST_F(FollowerTest, ReceivesWhatItSubscribedToWithItsStamp) {
  start();
  const auto ticket = follower->subscribe("stock.");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  broker.publish("stock.MSFT", "one");
  broker.publish("news", "not for us");
  broker.publish("stock.IBM", "two");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 2; }));
  EXPECT_THAT(recorder.texts, ElementsAre("one", "two"));
  EXPECT_THAT(recorder.positions, ElementsAre(1u, 3u));
  EXPECT_EQ(follower->status().received, 2u);
}

TEST_F(FollowerTest, ManySubscriptionsShareALiveCheck) {
  start();
  ASSERT_TRUE(until([&] { return follower->connected(); }));
  const auto before = broker.live_checks.size();
  std::uint64_t ticket = 0;
  for (int i = 0; i < 1000; ++i) ticket = follower->subscribe(fmt::format("topic.{}", i));
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  EXPECT_EQ(broker.live_checks.size(), before + 1);
}

TEST_F(FollowerTest, APrefixStaysSubscribedUntilItsLastUnsubscribe) {
  start();
  follower->subscribe("a");
  const auto ticket = follower->subscribe("a");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  follower->unsubscribe("a");
  const auto marker = follower->subscribe("b");
  ASSERT_TRUE(until([&] { return recorder.live == marker; }));
  EXPECT_TRUE(broker.subscriptions.contains("a"));
  follower->unsubscribe("a");
  follower->unsubscribe("a");  // once more than subscribe()
  ASSERT_TRUE(until([&] { return !broker.subscriptions.contains("a"); }));
}

TEST_F(FollowerTest, ReportsDownAndUpAcrossARestartAndDeliversEventsAgain) {
  start();
  const auto ticket = follower->subscribe("clock");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  broker.publish("clock", "before");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 1; }));
  broker.close();
  ASSERT_TRUE(until([&] { return recorder.connections.size() == 2; }));
  EXPECT_FALSE(follower->connected());
  broker.open();
  ASSERT_TRUE(until([&] { return recorder.connections.size() == 3; }));
  EXPECT_THAT(recorder.connections, ElementsAre(true, false, true));
  broker.publish("clock", "after");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 2; }));
  EXPECT_THAT(recorder.texts, ElementsAre("before", "after"));
  EXPECT_EQ(follower->status().reconnects, 1u);
}

TEST_F(FollowerTest, ASilentConnectionIsReplacedAndNothingIsMissed) {
  start();
  const auto ticket = follower->subscribe("clock");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  broker.publish("clock", "before");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 1; }));
  broker.replies_to_live_checks = false;
  broker.publish("clock", "lost on the way", /*lost=*/true);
  const std::size_t checks = broker.live_checks.size();
  ahead += follower::LiveCheck::silence_max;
  ASSERT_TRUE(until([&] { return broker.live_checks.size() > checks; }));
  EXPECT_TRUE(follower->connected());
  ahead += follower::LiveCheck::patience;
  ASSERT_TRUE(until([&] { return recorder.connections.size() == 2; }));
  EXPECT_FALSE(follower->connected());
  broker.replies_to_live_checks = true;
  ASSERT_TRUE(until([&] { return follower->connected(); }));
  EXPECT_THAT(recorder.connections, ElementsAre(true, false, true));
  broker.publish("clock", "after");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 3; }));
  EXPECT_THAT(recorder.texts, ElementsAre("before", "lost on the way", "after"));
  EXPECT_EQ(follower->status().reconnects, 1u);
}

TEST_F(FollowerTest, FiveThousandSubscriptionsAreActiveAgainWhenUpIsReported) {
  start();
  constexpr std::size_t count = 5000;
  std::uint64_t ticket = 0;
  for (std::size_t i = 0; i < count; ++i) ticket = follower->subscribe(fmt::format("topic.{}", i));
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  EXPECT_EQ(broker.subscriptions.size(), count);
  for (int round = 0; round < 3; ++round) {
    const auto before = recorder.connections.size();
    broker.close();
    ASSERT_TRUE(until([&] { return recorder.connections.size() == before + 1; }));
    broker.open();
    ASSERT_TRUE(until([&] { return recorder.connections.size() == before + 2; }));
    // A nonce may have been sent during the restart. The one that counted came after all subscriptions.
    EXPECT_TRUE(broker.subscriptions_at_live_check.contains(count));
    EXPECT_EQ(broker.subscriptions.size(), count);
  }
}

TEST_F(FollowerTest, ALiveReplyToAnOldNonceDoesNotCount) {
  broker.replies_to_live_checks = false;
  auto with = options();
  with.live_retry = 50ms;
  start(with);
  const auto ticket = follower->subscribe("clock");
  ASSERT_TRUE(until([&] { return broker.live_checks.size() >= 2; }));
  broker.send_raw({broker.live_checks.front(), stamped_event("", wire::Stamp{7, 1, 0, 0, 1})});
  for (int i = 0; i < 100; ++i) turn();
  EXPECT_EQ(recorder.live, 0u);
  broker.replies_to_live_checks = true;
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
}

TEST_F(FollowerTest, EachNonceIsUsedOnce) {
  start();
  std::set<std::string> seen;
  for (int round = 0; round < 3; ++round) {
    const auto ticket = follower->subscribe(fmt::format("topic.{}", round));
    ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
    seen.insert(broker.live_checks.begin(), broker.live_checks.end());
    EXPECT_EQ(seen.size(), broker.live_checks.size());
  }
  for (const std::string& topic : seen) EXPECT_EQ(topic.size(), follower::live_prefix.size() + 16);
}

TEST_F(FollowerTest, InvalidMessagesAreCountedAndSkipped) {
  start();
  const auto ticket = follower->subscribe("");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  const std::string good = stamped_event("good", wire::Stamp{9, 1, 1, 0, 1});
  broker.send_raw({"one.frame"});
  broker.send_raw({"three.frames", good, "more"});
  broker.send_raw({"no.stamp", "an event without a stamp at its end, though long enough for it"});
  broker.send_raw({"empty", ""});
  broker.send_raw({"bad..topic", good});
  broker.send_raw({std::string("\xff\xfe"), good});
  broker.send_raw({std::string(300, 'x'), good});
  broker.send_raw({"$SYS.live.0123456789abcdef", "no stamp"});
  broker.send_raw({"$SYS.live.0123456789abcdef", good});  // the reply to another reader's check
  broker.publish("clock", "still here");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 1; }));
  EXPECT_EQ(follower->status().undecodable, 8u);
  EXPECT_EQ(follower->status().received, 9u);
  EXPECT_TRUE(follower->connected());
}

TEST_F(FollowerTest, AMessageAboveTheLimitClosesTheConnectionWhichIsMadeAgain) {
  auto with = options();
  with.max_event_bytes = 1000;
  start(with);
  const auto ticket = follower->subscribe("big");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  broker.send_raw({"big", std::string(200'000, 'x')});
  ASSERT_TRUE(until([&] { return recorder.connections.size() == 3; }));
  EXPECT_THAT(recorder.connections, ElementsAre(true, false, true));
}

TEST_F(FollowerTest, DeliversRetainedValuesFromSeveralReplies) {
  for (int i = 0; i < 8; ++i) broker.values[fmt::format("stock.{}", i)] = fmt::format("{}", i);
  broker.values["news"] = "no";
  start();
  const auto request = follower->retained("stock.>");
  ASSERT_TRUE(until([&] { return recorder.ended.contains(request); }));
  EXPECT_EQ(recorder.ended[request], std::nullopt);
  EXPECT_EQ(recorder.retained[request].size(), 8u);
  EXPECT_EQ(recorder.retained[request].front(), "stock.0=0");
  EXPECT_EQ(recorder.retained[request].back(), "stock.7=7");
}

TEST_F(FollowerTest, ARefusedRequestEndsInAnError) {
  start();
  const auto request = follower->retained("a..b");
  ASSERT_TRUE(until([&] { return recorder.ended.contains(request); }));
  ASSERT_TRUE(recorder.ended[request]);
  EXPECT_EQ(recorder.ended[request]->code, ErrorCode::invalid_argument);
  EXPECT_THAT(recorder.ended[request]->text, ::testing::HasSubstr("that is no pattern"));
}

TEST_F(FollowerTest, ARequestWithoutAReplyTimesOut) {
  broker.replies_to_requests = false;
  auto with = options();
  with.control_timeout = 50ms;
  start(with);
  const auto request = follower->retained("a");
  ASSERT_TRUE(until([&] { return recorder.ended.contains(request); }));
  ASSERT_TRUE(recorder.ended[request]);
  EXPECT_EQ(recorder.ended[request]->code, ErrorCode::timeout);
  EXPECT_EQ(follower->status().control_timeouts, 1u);
}

TEST_F(FollowerTest, RetainedRequestsWaitForABroker) {
  broker.values["a"] = "1";
  broker.close();
  start();
  std::vector<std::uint64_t> requests;
  for (int i = 0; i < 100; ++i) requests.push_back(follower->retained("a"));
  for (int i = 0; i < 100; ++i) turn();
  EXPECT_TRUE(recorder.ended.empty());
  broker.open();
  ASSERT_TRUE(until([&] { return recorder.ended.size() == requests.size(); }));
  for (const auto request : requests) {
    EXPECT_EQ(recorder.ended[request], std::nullopt);
    EXPECT_THAT(recorder.retained[request], ElementsAre("a=1"));
  }
}

TEST_F(FollowerTest, ARequestInFlightIsSentAgainAfterARestart) {
  broker.values["a"] = "1";
  broker.replies_to_requests = false;
  start();
  const auto request = follower->retained("a");
  ASSERT_TRUE(until([&] { return !broker.requests.empty(); }));
  broker.close();
  ASSERT_TRUE(until([&] { return !follower->status().control_connected; }));
  broker.replies_to_requests = true;
  broker.open();
  ASSERT_TRUE(until([&] { return recorder.ended.contains(request); }));
  EXPECT_EQ(recorder.ended[request], std::nullopt);
  EXPECT_THAT(recorder.retained[request], ElementsAre("a=1"));
}

TEST_F(FollowerTest, WithControlOnlyReadsWhatIsStoredWithoutEgress) {
  broker.values["a"] = "1";
  broker.publish("a", "one");
  auto with = options();
  with.control_only = true;
  with.broker.egress = "tcp://127.0.0.1:9";  // nothing listens there
  start(with);
  const auto values = follower->retained("a");
  const auto history = follower->replay(">", AfterPositions{{{0x0000'0007'0000'0001, 0}}});
  ASSERT_TRUE(until([&] { return recorder.ended.contains(values) && !recorder.slices[history].empty(); }));
  EXPECT_THAT(recorder.retained[values], ElementsAre("a=1"));
  EXPECT_THAT(recorder.replayed[history], ElementsAre("one"));
  EXPECT_TRUE(follower->connected());
  EXPECT_THAT(recorder.connections, ElementsAre(true));

  broker.close();
  ASSERT_TRUE(until([&] { return !follower->connected(); }));
  broker.restart_without_state(0x0000'0007'0000'0002);
  broker.open();
  broker.publish("a", "two");
  follower->replay_more(history);
  ASSERT_TRUE(until([&] { return recorder.slices[history].size() == 2; }));
  EXPECT_TRUE(recorder.slices[history][1].reset.has_value());
  follower->replay_more(history);
  ASSERT_TRUE(until([&] { return recorder.replayed[history].size() == 2; }));
  EXPECT_THAT(recorder.replayed[history], ElementsAre("one", "two"));
  EXPECT_THAT(recorder.connections, ElementsAre(true, false, true));
  EXPECT_TRUE(broker.live_checks.empty());
  EXPECT_EQ(follower->status().reconnects, 1u);
}

TEST_F(FollowerTest, SendsHelloWithItsCountersAndAClosingHello) {
  auto with = options();
  with.name = "gateway@here";
  with.role = Follower::Role::gateway;
  start(with);
  follower->set_counters({{"clients", 12}});
  const auto hellos = [&] {
    std::vector<v1::HelloRequest> all;
    for (const auto& request : broker.requests) {
      if (request.has_hello()) all.push_back(request.hello());
    }
    return all;
  };
  ASSERT_TRUE(until([&] { return hellos().size() == 2; })) << "one at once, the next a second later";
  EXPECT_EQ(hellos()[0].name(), "gateway@here");
  EXPECT_EQ(hellos()[0].role(), v1::HelloRequest::ROLE_GATEWAY);
  EXPECT_EQ(hellos()[0].counters().at("clients"), 12u);
  EXPECT_FALSE(hellos()[0].closing());
  EXPECT_NE(hellos()[0].session(), 0u);
  follower.reset();
  ASSERT_TRUE(until([&] { return hellos().back().closing(); }));
  EXPECT_EQ(hellos().back().session(), hellos().front().session());
}

TEST_F(FollowerTest, ALoopOfPollAndPendingMissesNoEvent) {
  start();
  const auto ticket = follower->subscribe("burst");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  constexpr std::size_t count = 5000;
  for (std::size_t i = 0; i < count; ++i) broker.publish("burst", std::to_string(i));
  // From here on, the follower works only when a descriptor is readable or its deadline has passed.
  const auto limit = Clock::now() + 10s;
  while (recorder.texts.size() < count && Clock::now() < limit) {
    if (follower->do_work(Clock::now()) > 0 || follower->pending()) continue;
    std::vector<pollfd> waits;
    for (const int fd : follower->fds()) waits.push_back({fd, POLLIN, 0});
    const auto wait = std::min(follower->next_deadline(), limit) - Clock::now();
    const auto wait_ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
    poll(waits.data(), waits.size(), static_cast<int>(std::max<std::int64_t>(0, wait_ms)));
  }
  EXPECT_EQ(recorder.texts.size(), count);
}

TEST_F(FollowerTest, AListenerCanSubscribeDuringACallback) {
  struct SubscribingListener : Recorder {
    Follower* follower = nullptr;
    std::uint64_t ticket{};
    void on_event(const Delivery& delivery) override {
      Recorder::on_event(delivery);
      if (ticket != 0) return;
      follower->unsubscribe("first");
      ticket = follower->subscribe("second");
      (void)follower->retained("second");
    }
  } listener;
  follower.emplace(context, options(), listener);
  listener.follower = &*follower;
  const auto ticket = follower->subscribe("first");
  ASSERT_TRUE(until([&] { return listener.live == ticket; }));
  broker.publish("first", "1");
  ASSERT_TRUE(until([&] { return listener.ticket != 0 && listener.live == listener.ticket; }));
  broker.publish("second", "2");
  ASSERT_TRUE(until([&] { return listener.texts.size() == 2 && listener.ended.size() == 1; }));
  follower.reset();  // before its listener is destroyed
}

TEST_F(FollowerTest, LostEventsAreRecoveredAndDeliveredInOrder) {
  start();
  const auto ticket = follower->subscribe("stock.");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  for (int i = 1; i <= 20; ++i) {
    const bool lost = i > 3 && i < 18;
    broker.publish(i % 2 == 0 ? "stock.A" : "stock.B", std::to_string(i), lost);
  }
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 20; }));
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(recorder.positions[i], i + 1);
  EXPECT_THAT(recorder.gaps, ::testing::IsEmpty());
  EXPECT_EQ(follower->status().recovered, 14u);
  EXPECT_EQ(follower->status().seen, 6u);
  EXPECT_EQ(follower->status().late, 0u);
}

TEST_F(FollowerTest, LostEventsThatAreNotInHistoryBecomeAGap) {
  start();
  const auto ticket = follower->subscribe("stock.");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  for (int i = 1; i <= 10; ++i) broker.publish("stock.A", std::to_string(i), i > 1 && i < 10);
  broker.evict_history(4);
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 7; }));
  EXPECT_THAT(recorder.order, ElementsAre("up", "live", "event 1", "gap stock.A 2 4 history_gone", "event 5",
                                          "event 6", "event 7", "event 8", "event 9", "event 10"));
  EXPECT_EQ(follower->status().lost_history_gone, 3u);
}

TEST_F(FollowerTest, ALossAtTheEndOfATopicIsFound) {
  auto with = options();
  with.tails_interval = 20ms;
  start(with);
  const auto ticket = follower->subscribe("stock.");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  broker.publish("stock.A", "1");
  for (int i = 2; i <= 9; ++i) broker.publish("stock.A", std::to_string(i), /*lost=*/true);
  broker.publish("stock.never.seen", "10", /*lost=*/true);
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 10; }));
  EXPECT_EQ(recorder.texts.back(), "10");
}

TEST_F(FollowerTest, EventsPublishedWhileDisconnectedAreRecovered) {
  start();
  const auto ticket = follower->subscribe("stock.");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  broker.publish("stock.A", "1");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 1; }));
  broker.close();
  ASSERT_TRUE(until([&] { return !follower->connected(); }));
  for (int i = 2; i <= 5; ++i) broker.publish("stock.A", std::to_string(i));
  broker.open();
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 5; })) << "without any further event";
  EXPECT_EQ(recorder.texts.back(), "5");
  EXPECT_THAT(recorder.resets, ::testing::IsEmpty());
}

TEST_F(FollowerTest, ABrokerThatRestartsWithoutItsHistoryCausesAReset) {
  start();
  const auto ticket = follower->subscribe("stock.");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  broker.publish("stock.A", "old");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 1; }));
  broker.close();
  broker.restart_without_state(0x0000'0007'0000'0002);
  broker.publish("stock.A", "new, before we are back");
  broker.open();
  ASSERT_TRUE(until([&] { return recorder.connections.size() == 3; }));
  broker.publish("stock.A", "new");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 3; }));
  EXPECT_THAT(recorder.order, ElementsAre("up", "live", "event old", "down", "reset", "up",
                                          "event new, before we are back", "event new"));
}

TEST_F(FollowerTest, WithoutControlRepliesAMissingEventBecomesAGapAfterTheLimit) {
  broker.replies_to_requests = false;
  auto with = options();
  with.recovery_limit = 100ms;
  start(with);
  const auto ticket = follower->subscribe("stock.");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  broker.publish("stock.A", "1");
  broker.publish("stock.A", "2", /*lost=*/true);
  broker.publish("stock.A", "3");
  ASSERT_TRUE(until([&] { return recorder.texts.size() == 2; }));
  EXPECT_THAT(recorder.gaps, ElementsAre("stock.A 2 2 recovery_timeout"));
}

TEST_F(FollowerTest, EventsThatWaitAreBoundedByTheirBytes) {
  Follower::Options with = options();
  with.queue_bytes_max = 100'000;
  start(with);
  const auto ticket = follower->subscribe("a");
  ASSERT_TRUE(until([&] { return recorder.live == ticket; }));
  constexpr std::size_t count = 900;
  constexpr std::size_t event_bytes = 1000;
  for (std::size_t i = 0; i < count; ++i) {
    broker.publish("a", std::to_string(i) + " " + std::string(event_bytes, 'x'));
  }
  std::size_t most = 0;
  ASSERT_TRUE(until([&] {
    most = std::max(most, follower->status().queue_bytes);
    return recorder.texts.size() == count;
  }));
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_TRUE(recorder.texts[i].starts_with(std::to_string(i) + " ")) << i;
  }
  EXPECT_GT(most, with.queue_bytes_max / 2);
  EXPECT_LT(most, with.queue_bytes_max + 2 * event_bytes);
  EXPECT_GT(follower->status().queue_full, 0u);
  EXPECT_EQ(follower->status().queue_bytes, 0u);
}

TEST_F(FollowerTest, AnInvalidEndpointThrows) {
  auto with = options();
  with.broker.egress = "nonsense";
  EXPECT_THROW(start(with), std::invalid_argument);
}

}  // namespace
}  // namespace backplane::testing
