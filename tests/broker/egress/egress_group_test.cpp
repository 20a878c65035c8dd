// Several egress endpoints, with subscribers in this process.

#include "broker/egress/egress_group.hpp"

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

  mq::Context context;
  Counters counters;
  std::deque<zmq::socket_t> subscribers;
  EgressGroup group{context, counters};
};

TEST_F(EgressGroupTest, PublishesEverythingOnAnEndpointWithoutPatterns) {
  add({});
  for (const char* const topic : {"a.x", "$SYS.drain"}) publish(topic);
  EXPECT_THAT(received(0), ElementsAre("a.x", "$SYS.drain"));
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

}  // namespace
}  // namespace backplane::broker
