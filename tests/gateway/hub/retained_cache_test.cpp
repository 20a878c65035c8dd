#include "gateway/hub/retained_cache.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/fake_reader.hpp"
#include "tests/gateway/hub/recording_outlet.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

class RetainedCacheTest : public ::testing::Test {
 protected:
  explicit RetainedCacheTest(RetainedCache::Limits limits = {})
      : cache_(limits, routes_, encoder_), pattern_(routes_.add(Pattern::parse("s.>").value(), 1)) {
    cache_.attach(reader_);
  }
  RetainedValues& open() { return cache_.open(pattern_, now_); }
  RetainedValues& complete(RetainedValues& values) {
    cache_.finish(values, RetainedEnd{{{events_.stream(), events_.position()}}, std::nullopt, valid_until_},
                  now_);
    return values;
  }
  void add(RetainedValues& values, const NumberedEvents::Event& event) {
    cache_.add(values, event.delivery());
  }
  void update(RetainedValues& values, const NumberedEvents::Event& event) {
    cache_.update(values, event.delivery());
  }
  std::string all(RetainedValues& values) { return *cache_.all(values, Format::text_offset, now_); }

  RetainedCache::Clock::time_point now_{1h};
  RetainedCache::Clock::time_point valid_until_ = RetainedCache::Clock::time_point::max();
  FakeReader reader_;
  NumberedEvents events_;
  RecordingOutlet outlet_;
  TopicDirectory directory_;
  TopicRoutes routes_{outlet_, directory_};
  Encoder encoder_;
  RetainedCache cache_;
  SubscribedPattern& pattern_;
};

TEST_F(RetainedCacheTest, RequestsThePatternOnceAndServesItsValuesInTheOrderOfTopics) {
  RetainedValues& values = open();
  EXPECT_EQ(&open(), &values);
  EXPECT_EQ(cache_.find(1), &values);
  EXPECT_FALSE(values.complete());
  add(values, events_.publish("s.b", "one"));
  add(values, events_.publish("s.a", "two"));
  complete(values);
  EXPECT_TRUE(values.complete());
  EXPECT_EQ(cache_.find(1), nullptr);
  EXPECT_EQ(&open(), &values);
  EXPECT_THAT(reader_.asked, ElementsAre("s.>"));
  EXPECT_EQ(all(values), "s.a 1 two\ns.b 1 one\n");
}

TEST_F(RetainedCacheTest, IgnoresTopicsThatThePatternDoesNotMatch) {
  RetainedValues& values = open();
  add(values, events_.publish("other", "x"));
  complete(values);
  EXPECT_EQ(all(values), "");
}

TEST_F(RetainedCacheTest, ALiveEventIsNewerThanTheReply) {
  RetainedValues& values = open();
  const auto old = events_.publish("s.a", "old");
  update(values, events_.publish("s.a", "new"));
  add(values, old);
  complete(values);
  EXPECT_EQ(all(values), "s.a 2 new\n");
}

TEST_F(RetainedCacheTest, ALateLiveEventDoesNotReplaceANewerValue) {
  RetainedValues& values = open();
  const auto late = events_.publish("s.a", "late");
  add(values, events_.publish("s.a", "newer"));
  complete(values);
  update(values, late);
  EXPECT_EQ(all(values), "s.a 2 newer\n");
}

TEST_F(RetainedCacheTest, ALiveEventReplacesTheValueInTextsAlreadyMade) {
  RetainedValues& values = open();
  add(values, events_.publish("s.a", "one"));
  complete(values);
  EXPECT_EQ(all(values), "s.a 1 one\n");
  const auto skip = cache_.skip(values);
  update(values, events_.publish("s.a", "two"));
  EXPECT_EQ(all(values), "s.a 2 two\n");
  EXPECT_NE(cache_.skip(values), skip);
}

TEST_F(RetainedCacheTest, AnEventWithoutPayloadClearsTheValue) {
  RetainedValues& values = open();
  add(values, events_.publish("s.a", "x"));
  complete(values);
  update(values, events_.clear("s.a"));
  EXPECT_EQ(all(values), "");
}

TEST_F(RetainedCacheTest, AfterValidUntilItRequestsAgainAndDiscardsValuesThatTheReplyLacks) {
  valid_until_ = now_ + 2s;
  RetainedValues& values = open();
  add(values, events_.publish("s.a", "expires"));
  const auto stays = events_.publish("s.b", "stays");
  add(values, stays);
  complete(values);
  now_ += 1s;
  EXPECT_TRUE(open().complete());
  now_ += 1s;
  EXPECT_FALSE(open().complete());
  add(values, stays);
  complete(values);
  EXPECT_EQ(reader_.asked.size(), 2u);
  EXPECT_EQ(all(values), "s.b 1 stays\n");
}

TEST_F(RetainedCacheTest, ExpiresValuesThatAreIdleOrTooOld) {
  complete(open());
  now_ += 4s;
  cache_.expire(now_);
  EXPECT_FALSE(cache_.empty());
  now_ += 1s;
  cache_.expire(now_);
  EXPECT_TRUE(cache_.empty());
  EXPECT_EQ(pattern_.retained, nullptr);
  complete(open());
  for (int i = 0; i < 30; ++i) {
    now_ += 2s;
    (void)open();
  }
  cache_.expire(now_);
  EXPECT_TRUE(cache_.empty()) << "in use, and a minute old";
}

TEST_F(RetainedCacheTest, DoesNotExpireValuesThatAreAwaitedOrRead) {
  RetainedValues& values = open();
  now_ += 1h;
  cache_.expire(now_);
  EXPECT_FALSE(cache_.empty()) << "the request is in progress";
  complete(values);
  cache_.begin_slices(values);
  now_ += 1h;
  cache_.expire(now_);
  EXPECT_FALSE(cache_.empty()) << "a client reads them";
  cache_.end_slices(values);
  cache_.expire(now_);
  EXPECT_TRUE(cache_.empty());
}

TEST_F(RetainedCacheTest, ALostEventEvictsItsTopicOrAllValuesThatNobodyUses) {
  RetainedValues& values = open();
  add(values, events_.publish("s.a", "x"));
  add(values, events_.publish("s.b", "x"));
  complete(values);
  cache_.begin_slices(values);
  cache_.evict(pattern_, "s.a");
  EXPECT_EQ(all(values), "s.b 1 x\n");
  cache_.end_slices(values);
  cache_.evict(pattern_, "s.b");
  EXPECT_TRUE(cache_.empty());
}

TEST_F(RetainedCacheTest, TheEndOfAStreamEvictsItsValues) {
  NumberedEvents other(0x2'00000001);
  RetainedValues& values = open();
  add(values, events_.publish("s.a", "x"));
  add(values, other.publish("s.b", "y"));
  complete(values);
  cache_.begin_slices(values);
  cache_.invalidate(events_.stream());
  EXPECT_EQ(all(values), "s.b 1 y\n");
  cache_.end_slices(values);
  cache_.expire(now_);
  EXPECT_TRUE(cache_.empty()) << "not for new clients";
}

TEST_F(RetainedCacheTest, DroppingCancelsTheRequestAndEndsUpdates) {
  (void)open();
  EXPECT_TRUE(routes_.topic("s.a").cached);
  cache_.drop(pattern_);
  EXPECT_THAT(reader_.cancelled, ElementsAre(1u));
  EXPECT_EQ(cache_.find(1), nullptr);
  EXPECT_FALSE(routes_.topic("s.a").cached);
  cache_.drop(pattern_);
  EXPECT_EQ(reader_.cancelled.size(), 1u);
}

TEST_F(RetainedCacheTest, SlicesContinueAfterTheLastTopicWithTheValuesOfThatMoment) {
  RetainedValues& values = open();
  for (const char* const topic : {"s.a", "s.b", "s.c", "s.d"}) add(values, events_.publish(topic, "old"));
  complete(values);
  std::string after;
  std::string first;
  const auto not_b = [](std::string_view topic, const wire::Stamp&) { return topic != "s.b"; };
  EXPECT_FALSE(cache_.append_slice(values, Format::text, 12, not_b, now_, after, first));
  EXPECT_EQ(first, "s.a old\ns.c old\n");
  EXPECT_EQ(after, "s.c");
  update(values, events_.publish("s.a", "new"));
  update(values, events_.publish("s.d", "new"));
  std::string second;
  EXPECT_TRUE(cache_.append_slice(values, Format::text, 1000, not_b, now_, after, second));
  EXPECT_EQ(second, "s.d new\n");
}

TEST_F(RetainedCacheTest, TheSkipCoversEveryValueUpToItsPosition) {
  RetainedValues& values = open();
  add(values, events_.publish("s.a", "x"));
  complete(values);
  const auto skip = cache_.skip(values);
  const auto topic = routes_.number(routes_.topic("s.a"), events_.stream());
  const auto stream = routes_.stream_id(events_.stream());
  EXPECT_TRUE(skip->has_topic(topic, stream, events_.position()));
  EXPECT_FALSE(skip->has_topic(topic, stream, events_.position() + 1));
}

TEST_F(RetainedCacheTest, AValueThatCannotBeEncodedIsAGap) {
  RetainedValues& values = open();
  auto event = events_.publish("s.a", "x");
  event.bytes.front() = '\xff';
  add(values, event);
  complete(values);
  EXPECT_EQ(all(values), "!GAP s.a 1 1 undecodable\n");
  EXPECT_EQ(cache_.undecodable(), 1u);
}

class SmallRetainedCacheTest : public RetainedCacheTest {
 protected:
  SmallRetainedCacheTest() : RetainedCacheTest({.bytes_max = 2'000}) {}
};

TEST_F(SmallRetainedCacheTest, IsFullAboveItsBytesAndEmptyWhenTheyAreDropped) {
  RetainedValues& values = open();
  add(values, events_.publish("s.a", std::string(1'000, 'x')));
  EXPECT_FALSE(cache_.is_full());
  add(values, events_.publish("s.b", std::string(1'000, 'x')));
  EXPECT_TRUE(cache_.is_full());
  update(values, events_.publish("s.b", "short"));
  EXPECT_FALSE(cache_.is_full());
  update(values, events_.publish("s.a", std::string(3'000, 'x')));
  EXPECT_TRUE(cache_.is_full());
  cache_.drop(pattern_);
  EXPECT_FALSE(cache_.is_full());
}

}  // namespace
}  // namespace backplane::gateway
