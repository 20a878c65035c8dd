// Several egress endpoints, with subscribers in this process.

#include "broker/egress/egress_group.hpp"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/topic/pattern.hpp"

namespace backplane::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class EgressGroupTest : public ::testing::Test {
 protected:
  void add(std::initializer_list<std::string_view> patterns) {
    std::vector<Pattern> parsed;
    for (const std::string_view each : patterns) parsed.push_back(Pattern::parse(each).value());
    const std::string endpoint = "inproc://egress." + std::to_string(group.size());
    Egress& egress = group.add({}, std::move(parsed));
    ASSERT_TRUE(egress.bind(endpoint));
    zmq::socket_t& subscriber = subscribers.emplace_back(context.raw(), zmq::socket_type::sub);
    subscriber.connect(endpoint);
    subscriber.set(zmq::sockopt::subscribe, "");
    // An inproc subscription is there at once.
    ASSERT_TRUE(egress.next_subscription().has_value());
  }

  void publish(std::string_view topic) {
    zmq::message_t name(topic.data(), topic.size());
    zmq::message_t event(std::string(100, 'e'));
    group.publish(name, event);
    EXPECT_EQ(name.size() + event.size(), 0u);
  }

  std::vector<std::string> received(std::size_t index) {
    std::vector<std::string> topics;
    zmq::message_t frame;
    while (subscribers[index].recv(frame, zmq::recv_flags::dontwait)) {
      topics.push_back(frame.to_string());
      EXPECT_TRUE(subscribers[index].recv(frame, zmq::recv_flags::dontwait));
      EXPECT_EQ(frame.to_string(), std::string(100, 'e'));
    }
    return topics;
  }

  /// Takes what subscribers send until the condition holds.
  template <class Condition>
  void serve_until(Condition condition) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds{60};
    for (std::size_t i = 0; !condition(); i = (i + 1) % group.size()) {
      ASSERT_LT(std::chrono::steady_clock::now(), limit);
      static_cast<void>(group.endpoint(i).next_subscription());
    }
  }

  mq::Context context{2};
  Counters counters;
  std::deque<zmq::socket_t> subscribers;
  EgressGroup group{context, counters};
};

TEST_F(EgressGroupTest, PublishesEverythingOnAnEndpointWithoutPatterns) {
  add({});
  for (const char* const topic : {"a.x", "$SYS.drain"}) publish(topic);
  EXPECT_THAT(received(0), ElementsAre("a.x", "$SYS.drain"));
}

TEST_F(EgressGroupTest, PublishesEverythingOnAllEndpointsWithoutPatterns) {
  for (std::size_t i = 0; i < EgressGroup::endpoints_max; ++i) add({});
  for (const char* const topic : {"a.x", "$SYS.drain"}) publish(topic);
  for (std::size_t i = 0; i < EgressGroup::endpoints_max; ++i) {
    EXPECT_THAT(received(i), ElementsAre("a.x", "$SYS.drain")) << i;
  }
}

TEST_F(EgressGroupTest, PublishesOnEachEndpointTheTopicsOfItsPatterns) {
  add({">"});
  add({"a.*", "b.>"});
  add({"c.x", "a.y", "$SYS.>"});
  for (const int round : {1, 2}) {
    for (const char* const topic : {"a.x", "a.y", "b.x.y", "c.x", "d", "$SYS.stats"}) publish(topic);
    EXPECT_THAT(received(0), ElementsAre("a.x", "a.y", "b.x.y", "c.x", "d")) << round;
    EXPECT_THAT(received(1), ElementsAre("a.x", "a.y", "b.x.y")) << round;
    EXPECT_THAT(received(2), ElementsAre("a.y", "c.x", "$SYS.stats")) << round;
  }
}

TEST_F(EgressGroupTest, DiscardsEventsThatNoEndpointPublishes) {
  add({"a.x"});
  publish("b");
  EXPECT_THAT(received(0), IsEmpty());
}

TEST_F(EgressGroupTest, DecidesRightlyAboutMoreTopicsThanItRemembers) {
  add({"a.*", "b.*", "c.*", "d.1"});
  std::vector<std::string> expected;
  for (int i = 0; i < 40'000; ++i) {
    const std::string topic = (i % 2 == 0 ? "a." : "z.") + std::to_string(i % 20'011);
    publish(topic);
    if (i % 2 == 0) expected.push_back(topic);
    if (i % 500 != 499) continue;
    ASSERT_EQ(received(0), std::exchange(expected, {}));
  }
}

TEST_F(EgressGroupTest, DisconnectsTheSubscriberWithMostSubscriptionsAboveTheLimit) {
  const std::string endpoint = group.add({}, {}).bind("tcp://127.0.0.1:*").value();
  const auto subscribe = [&](const std::string& name, int count) {
    zmq::socket_t& subscriber = subscribers.emplace_back(context.raw(), zmq::socket_type::sub);
    subscriber.set(zmq::sockopt::linger, 0);
    subscriber.set(zmq::sockopt::reconnect_ivl, -1);
    subscriber.connect(endpoint);
    for (int i = 0; i < count; ++i)
      subscriber.set(zmq::sockopt::subscribe, name + "." + std::to_string(100 + i));
  };
  subscribe("modest", 3);
  subscribe("greedy", 50);
  subscribe("second", 20);
  serve_until([&] { return counters.subscriptions_total == 73; });
  const std::size_t each = SubscriptionLedger::cost(std::string_view("modest.100").size());
  const SubscriptionLedger& ledger = group.endpoint(0).ledger();
  EXPECT_EQ(ledger.bytes(), 73 * each);
  EXPECT_EQ(ledger.largest(), 50 * each);
  group.bound_subscriptions(73 * each);
  EXPECT_EQ(counters.subscribers_disconnected_total, 0u);
  group.bound_subscriptions(73 * each - 1);
  EXPECT_EQ(counters.subscribers_disconnected_total, 1u);
  EXPECT_EQ(ledger.bytes(), 23 * each);
  serve_until([&] { return counters.unsubscriptions_total == 50; });
  publish("modest.101");
  subscribers.front().set(zmq::sockopt::rcvtimeo, 60'000);
  zmq::message_t topic;
  ASSERT_TRUE(subscribers.front().recv(topic));
  EXPECT_EQ(topic.to_string(), "modest.101");
}

TEST_F(EgressGroupTest, UnsubscribingEndsWhatASubscriptionOccupies) {
  const std::string endpoint = group.add({}, {}).bind("tcp://127.0.0.1:*").value();
  zmq::socket_t& subscriber = subscribers.emplace_back(context.raw(), zmq::socket_type::sub);
  subscriber.connect(endpoint);
  subscriber.set(zmq::sockopt::subscribe, "a");
  subscriber.set(zmq::sockopt::subscribe, "bc");
  subscriber.set(zmq::sockopt::unsubscribe, "a");
  serve_until([&] { return counters.unsubscriptions_total == 1; });
  EXPECT_EQ(group.endpoint(0).ledger().bytes(), SubscriptionLedger::cost(2));
}

TEST_F(EgressGroupTest, ASubscriptionCountsOnceForEachSubscriberHoweverOftenItIsSent) {
  const std::string endpoint = group.add({}, {}).bind("tcp://127.0.0.1:*").value();
  const std::size_t each = SubscriptionLedger::cost(1) + SubscriptionLedger::cost(2);
  for (const std::size_t count : {1u, 2u}) {
    zmq::socket_t& subscriber = subscribers.emplace_back(context.raw(), zmq::socket_type::xsub);
    subscriber.set(zmq::sockopt::linger, 0);
    subscriber.connect(endpoint);
    // An XSUB sends what is subscribed to already, too.
    for (const char* const message : {"\1a", "\1a", "\1a", "\1zz"}) {
      zmq::message_t subscription{std::string_view(message)};
      ASSERT_TRUE(subscriber.send(subscription, zmq::send_flags::none));
    }
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds{60};
    std::size_t seen = 0;
    for (bool last = false; !last;) {
      ASSERT_LT(std::chrono::steady_clock::now(), limit);
      const auto next = group.endpoint(0).next_subscription();
      if (!next) continue;
      ++seen;
      last = next->prefix == "zz";
    }
    EXPECT_EQ(seen, 4u);
    EXPECT_EQ(group.endpoint(0).ledger().bytes(), count * each);
    EXPECT_EQ(counters.subscriptions_total, 2 * count);
  }
}

TEST_F(EgressGroupTest, ASubscriberThatHasClosedOccupiesNothing) {
  const std::string endpoint = group.add({}, {}).bind("tcp://127.0.0.1:*").value();
  for (const int count : {1, 2}) {
    zmq::socket_t& subscriber = subscribers.emplace_back(context.raw(), zmq::socket_type::sub);
    subscriber.connect(endpoint);
    for (int i = 0; i < count; ++i) subscriber.set(zmq::sockopt::subscribe, std::to_string(i));
  }
  serve_until([&] { return counters.subscriptions_total == 3; });
  subscribers.back().close();
  // libzmq unsubscribes it, in messages of no connection.
  serve_until([&] { return counters.unsubscriptions_total == 2; });
  SubscriptionLedger& ledger = group.endpoint(0).ledger();
  serve_until([&] {
    // As a ConnectionWatch does when libzmq has closed a connection. The other one is open.
    for (int descriptor = 0; descriptor < 1024; ++descriptor) ledger.closed(descriptor);
    return ledger.bytes() <= SubscriptionLedger::cost(1);
  });
  EXPECT_EQ(ledger.bytes(), SubscriptionLedger::cost(1));
}

TEST_F(EgressGroupTest, ASubscriberMaySendSomeOtherMessagesInEachSecond) {
  const std::string endpoint = group.add({}, {}).bind("tcp://127.0.0.1:*").value();
  zmq::socket_t& busy = subscribers.emplace_back(context.raw(), zmq::socket_type::xsub);
  busy.set(zmq::sockopt::linger, 0);
  busy.set(zmq::sockopt::sndhwm, 0);
  busy.connect(endpoint);
  for (std::uint64_t second = 1; second <= 3; ++second) {
    for (std::uint32_t i = 0; i + 1 < SubscriptionLedger::churn_max; ++i) {
      zmq::message_t message(std::string_view("no subscription"));
      ASSERT_TRUE(busy.send(message, zmq::send_flags::none));
    }
    zmq::message_t subscription("\1" + std::to_string(second));
    ASSERT_TRUE(busy.send(subscription, zmq::send_flags::none));
    serve_until([&] { return counters.subscriptions_total == second; });
    group.endpoint(0).ledger().begin_second();
  }
  EXPECT_EQ(counters.subscribers_disconnected_total, 0u);
}

TEST_F(EgressGroupTest, DisconnectsASubscriberThatSendsVeryManyOtherMessages) {
  const std::string endpoint = group.add({}, {}).bind("tcp://127.0.0.1:*").value();
  zmq::socket_t& hostile = subscribers.emplace_back(context.raw(), zmq::socket_type::xsub);
  hostile.set(zmq::sockopt::linger, 0);
  hostile.set(zmq::sockopt::sndhwm, 0);
  hostile.set(zmq::sockopt::reconnect_ivl, -1);
  hostile.connect(endpoint);
  zmq::message_t subscription(std::string_view("\1mine"));
  ASSERT_TRUE(hostile.send(subscription, zmq::send_flags::none));
  for (std::uint32_t i = 0; i < 2 * SubscriptionLedger::churn_max; ++i) {
    if (i == SubscriptionLedger::churn_max / 2)
      serve_until([&] { return counters.subscriptions_total == 1; });
    zmq::message_t message(std::string_view("no subscription"));
    ASSERT_TRUE(hostile.send(message, zmq::send_flags::none));
  }
  serve_until([&] { return counters.subscribers_disconnected_total == 1; });
  serve_until([&] { return counters.unsubscriptions_total == 1; });
  EXPECT_EQ(group.endpoint(0).ledger().bytes(), 0u);
}

}  // namespace
}  // namespace backplane::broker
