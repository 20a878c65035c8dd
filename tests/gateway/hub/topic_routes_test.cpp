#include "gateway/hub/topic_routes.hpp"

#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/hub/retained_cache.hpp"
#include "tests/gateway/fake_reader.hpp"
#include "tests/gateway/hub/recording_outlet.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr std::uint64_t stream_a = 0x1'00000001;
constexpr std::uint64_t stream_b = 0x1'00000002;

class TopicRoutesTest : public ::testing::Test {
 protected:
  SubscribedPattern& add(const std::string& pattern) {
    return routes_.add(Pattern::parse(pattern).value(), /*ticket=*/1);
  }
  Audience& join(SubscribedPattern& pattern, std::chrono::milliseconds every = 0ms, bool notices = false) {
    return routes_.add_member(pattern, Format::text, every, notices);
  }
  /// The audiences of a route.
  std::vector<fanout::AudienceId> audiences(fanout::RouteId route) {
    return route == RouteTable::none ? std::vector<fanout::AudienceId>{} : outlet_.routes.at(route);
  }
  std::vector<fanout::AudienceId> receivers(std::string_view topic) {
    return audiences(routes_.topic(topic).routes[static_cast<std::size_t>(Format::text)]);
  }
  std::vector<fanout::AudienceId> notified(std::string_view topic) {
    return audiences(routes_.notice_routes(topic, {}).routes[static_cast<std::size_t>(Format::text)]);
  }

  RecordingOutlet outlet_;
  TopicDirectory directory_;
  TopicRoutes routes_{outlet_, directory_};
};

TEST_F(TopicRoutesTest, ATopicReachesTheAudiencesOfEveryPatternThatMatches) {
  const auto exact = join(add("stock.MSFT")).id;
  const auto wide = join(add("stock.>")).id;
  join(add("news.>"));
  EXPECT_THAT(receivers("stock.MSFT"), UnorderedElementsAre(exact, wide));
  EXPECT_THAT(receivers("stock.IBM"), ElementsAre(wide));
  EXPECT_THAT(receivers("clock"), IsEmpty());
  EXPECT_FALSE(routes_.topic("clock").needed);
}

TEST_F(TopicRoutesTest, ANewAudienceChangesTheRoutesOfKnownTopics) {
  EXPECT_THAT(receivers("a.b"), IsEmpty());
  Audience& exact = join(add("a.b"));
  EXPECT_THAT(receivers("a.b"), ElementsAre(exact.id));
  Audience& wide = join(add("a.*"));
  EXPECT_THAT(receivers("a.b"), UnorderedElementsAre(exact.id, wide.id));
  const auto left = exact.id;
  routes_.remove_member(wide);
  EXPECT_THAT(receivers("a.b"), ElementsAre(left));
}

TEST_F(TopicRoutesTest, AnAudienceEndsWithItsLastMemberAndItsNumberIsReused) {
  SubscribedPattern& pattern = add("a");
  Audience& audience = join(pattern);
  EXPECT_EQ(&join(pattern), &audience);
  const auto id = audience.id;
  routes_.remove_member(audience);
  EXPECT_THAT(receivers("a"), ElementsAre(id));
  routes_.remove_member(audience);
  EXPECT_THAT(receivers("a"), IsEmpty());
  EXPECT_EQ(join(add("b")).id, id);
}

TEST_F(TopicRoutesTest, AnIntervalHasAnAudienceOfItsOwnAndNoticesIgnoreIt) {
  SubscribedPattern& pattern = add("a");
  const Audience& live = join(pattern);
  const Audience& every = join(pattern, 5s);
  const Audience& notices = join(pattern, 5s, /*notices=*/true);
  EXPECT_EQ(outlet_.intervals.at(every.id), 5s);
  EXPECT_EQ(outlet_.intervals.at(notices.id), 0s);
  EXPECT_EQ(&TopicRoutes::notice_audience(every), &notices);
  EXPECT_THAT(receivers("a"), UnorderedElementsAre(live.id, every.id));
  EXPECT_THAT(notified("a"), UnorderedElementsAre(live.id, notices.id));
}

TEST_F(TopicRoutesTest, TopicsOfTheSameAudiencesShareARoute) {
  join(add("a.>"));
  for (int i = 0; i < 100; ++i) (void)receivers("a." + std::to_string(i));
  EXPECT_EQ(outlet_.routes_set, 1);
}

TEST_F(TopicRoutesTest, AMarkFindsTheTopicAgain) {
  NumberedEvents events;
  const auto event = events.publish("a", "x");
  std::uint64_t mark = 0;
  Delivery delivery = event.delivery();
  delivery.mark = &mark;
  RoutedTopic& topic = routes_.topic(delivery);
  EXPECT_NE(mark, 0u);
  delivery.topic = "not looked at";
  EXPECT_EQ(&routes_.topic(delivery), &topic);
  const auto audience = join(add("a")).id;
  EXPECT_THAT(audiences(routes_.topic(delivery).routes[0]), ElementsAre(audience));
}

TEST_F(TopicRoutesTest, ATopicHasANumberForEachStream) {
  RoutedTopic& topic = routes_.topic("a");
  const auto in_a = routes_.number(topic, stream_a);
  const auto in_b = routes_.number(topic, stream_b);
  EXPECT_NE(in_a, in_b);
  EXPECT_EQ(routes_.number(topic, stream_a), in_a);
  routes_.advance(topic, {stream_b, 7, 3, 0, 0}, /*serial=*/9);
  EXPECT_EQ(topic.id, in_b);
  EXPECT_EQ(topic.stream_id, routes_.stream_id(stream_b));
  EXPECT_EQ(topic.offset, 3u);
}

TEST_F(TopicRoutesTest, TheEndOfAStreamReportsTheTopicsThatHadEventsInItAndEndsItsNumbers) {
  routes_.advance(routes_.topic("old"), {stream_a, 1, 1, 0, 0}, 1);
  routes_.advance(routes_.topic("moved"), {stream_a, 2, 1, 0, 0}, 2);
  routes_.advance(routes_.topic("moved"), {stream_b, 1, 1, 0, 0}, 3);
  const auto old_stream = routes_.stream_id(stream_a);
  const auto old_number = routes_.number(routes_.topic("old"), stream_a);
  std::vector<std::string> reported;
  routes_.end_stream(stream_a, [&](const RoutedTopic& topic) { reported.push_back(*topic.name); });
  EXPECT_THAT(reported, ElementsAre("old", "moved"));
  EXPECT_EQ(outlet_.low_watermarks.at(old_stream), std::numeric_limits<std::uint64_t>::max());
  EXPECT_FALSE(routes_.find_stream(stream_a));
  EXPECT_TRUE(routes_.find_stream(stream_b));
  EXPECT_NE(routes_.number(routes_.topic("old"), stream_a), old_number);
}

TEST_F(TopicRoutesTest, NoticesHaveNoRouteIfASubscriptionBeganAfterTheirPosition) {
  SubscribedPattern& pattern = add("a");
  const auto audience = join(pattern).id;
  const auto stream = routes_.stream_id(stream_a);
  TopicRoutes::set_start(pattern, {10, stream});
  EXPECT_TRUE(routes_.notice_routes("a", {10, stream}).began_after);
  EXPECT_FALSE(routes_.notice_routes("a", {11, stream}).began_after);
  EXPECT_FALSE(routes_.notice_routes("a", {1, routes_.stream_id(stream_b)}).began_after);
  EXPECT_THAT(notified("a"), ElementsAre(audience));
  EXPECT_FALSE(routes_.notice_routes("b", {11, stream}).any);
}

TEST_F(TopicRoutesTest, CachedValuesNeedTheEventsOfTheirPattern) {
  SubscribedPattern& pattern = add("a.>");
  EXPECT_FALSE(routes_.topic("a.b").needed);
  RetainedValues values(pattern);
  routes_.set_retained(pattern, &values);
  EXPECT_TRUE(routes_.topic("a.b").needed);
  EXPECT_TRUE(routes_.topic("a.b").cached);
  routes_.set_retained(pattern, nullptr);
  EXPECT_FALSE(routes_.topic("a.b").needed);
}

TEST_F(TopicRoutesTest, ARemovedPatternMatchesNothing) {
  SubscribedPattern& pattern = add("a.*");
  EXPECT_EQ(routes_.find("a.*"), &pattern);
  routes_.remove(pattern);
  EXPECT_EQ(routes_.find("a.*"), nullptr);
  routes_.for_each_match("a.b", [](const SubscribedPattern&) { ADD_FAILURE() << "expected no match"; });
}

}  // namespace
}  // namespace backplane::gateway
