#include "publishers/lib/unconfirmed_events.hpp"

#include <array>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace backplane::publishing {
namespace {

/// Topics of the next events to send, at most `count`.
std::vector<std::string> next_topics(const UnconfirmedEvents& events, std::size_t count) {
  std::vector<EventFrames> frames(count);
  frames.resize(events.peek(frames));
  std::vector<std::string> topics;
  for (const EventFrames& frame : frames) topics.emplace_back(frame.topic);
  return topics;
}

TEST(UnconfirmedEvents, AreSentInTheOrderInWhichTheyWereOffered) {
  UnconfirmedEvents events("", 1 << 20);
  for (const char* topic : {"a", "b", "c"}) ASSERT_TRUE(events.append(topic, ""));
  EXPECT_THAT(next_topics(events, 2), testing::ElementsAre("a", "b"));
  events.mark_sent(2);
  EXPECT_THAT(next_topics(events, 2), testing::ElementsAre("c"));
}

TEST(UnconfirmedEvents, ARewindSendsEverythingUnconfirmedAgain) {
  UnconfirmedEvents events("", 1 << 20);
  for (const char* topic : {"a", "b", "c"}) ASSERT_TRUE(events.append(topic, ""));
  events.mark_sent(3);
  events.confirm(1);
  events.rewind();
  EXPECT_THAT(next_topics(events, 9), testing::ElementsAre("b", "c"));
}

TEST(UnconfirmedEvents, EventsConfirmedAfterARewindAreNotResent) {
  UnconfirmedEvents events("", 1 << 20);
  for (const char* topic : {"a", "b", "c"}) ASSERT_TRUE(events.append(topic, ""));
  events.mark_sent(3);
  events.rewind();
  events.confirm(2);
  EXPECT_EQ(events.sent(), 2U);
  EXPECT_THAT(next_topics(events, 9), testing::ElementsAre("c"));
}

TEST(UnconfirmedEvents, AtTheLimitAppendFailsUntilEventsAreConfirmed) {
  const std::size_t one = UnconfirmedEvents::footprint(1, 2 + 10);
  UnconfirmedEvents events("", 3 * one);
  const std::string tail(10, 'x');
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(events.append("t", tail));
  EXPECT_FALSE(events.append("t", tail));
  EXPECT_EQ(events.offered(), 3U);
  events.mark_sent(1);
  events.confirm(1);
  EXPECT_TRUE(events.append("t", tail));
  EXPECT_FALSE(events.append("t", tail));
}

TEST(UnconfirmedEvents, AgreeWithASimpleModelUnderRandomOperations) {
  std::mt19937 random(7);
  UnconfirmedEvents events("head", 400'000);
  std::deque<std::pair<std::uint64_t, std::string>> model;  // unconfirmed: sequence and topic
  for (int step = 0; step < 20'000; ++step) {
    switch (random() % 5) {
      case 0:
      case 1: {
        const std::string topic = "t" + std::to_string(step);
        // Now and then an event that needs its own segment.
        const std::string tail(random() % 50 == 0 ? 100'000 : random() % 500, 'x');
        if (events.append(topic, tail)) model.emplace_back(events.offered(), topic);
        break;
      }
      case 2:
        events.mark_sent(std::min<std::size_t>(random() % 20, events.offered() - events.sent()));
        break;
      case 3: {
        const std::uint64_t to = std::min(events.offered(), events.confirmed() + random() % 25);
        events.confirm(to);
        while (!model.empty() && model.front().first <= to) model.pop_front();
        break;
      }
      default:
        if (random() % 10 == 0) events.rewind();
    }
    std::vector<std::string> expected;
    for (const auto& [sequence, topic] : model) {
      if (sequence > events.sent() && expected.size() < 8) expected.push_back(topic);
    }
    ASSERT_EQ(next_topics(events, 8), expected) << "step " << step;
  }
  EXPECT_GT(events.offered(), 1000U);
}

}  // namespace
}  // namespace backplane::publishing
