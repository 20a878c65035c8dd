#include "cli/console/topics_view.hpp"

#include <gmock/gmock.h>

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

constexpr std::int64_t now_ns = 1'000'000'000'000;

TopicInfo topic(const std::string& name, std::uint64_t events, std::uint64_t bytes,
                std::chrono::nanoseconds age) {
  TopicInfo info;
  info.name = name;
  info.offset = info.events = events;
  info.bytes = bytes;
  info.received_ns = now_ns - age.count();
  return info;
}

TopicsReading reading(std::vector<TopicInfo> topics, std::chrono::seconds at, bool all = true) {
  return {std::move(topics), all, std::chrono::steady_clock::time_point{at}, now_ns};
}

std::vector<std::string> names(const std::vector<TopicRow>& rows) {
  std::vector<std::string> all;
  for (const TopicRow& row : rows) all.push_back(row.topic->name);
  return all;
}

TEST(TopicRows, RatesAreTakenBetweenTwoReadings) {
  const auto before = reading({topic("a", 10, 100, 1s)}, 100s);
  const auto now = reading({topic("a", 30, 300, 1s)}, 102s);
  const auto rows = topic_rows(now, before, TopicOrder::name);
  EXPECT_TRUE(rows[0].rate_known);
  EXPECT_DOUBLE_EQ(rows[0].events_per_second, 10);
  EXPECT_DOUBLE_EQ(rows[0].bytes_per_second, 100);
}

TEST(TopicRows, ANewTopicHasHadAllItsEventsSinceTheLastReading) {
  const auto before = reading({}, 100s);
  const auto now = reading({topic("new", 5, 50, 0s)}, 101s);
  EXPECT_DOUBLE_EQ(topic_rows(now, before, TopicOrder::name)[0].events_per_second, 5);
  const auto part = reading({}, 100s, /*all=*/false);
  EXPECT_FALSE(topic_rows(now, part, TopicOrder::name)[0].rate_known)
      << "the previous reading may have left it out";
}

TEST(TopicRows, WithoutAPreviousReadingThereIsNoRate) {
  const auto now = reading({topic("a", 5, 50, 0s)}, 101s);
  EXPECT_FALSE(topic_rows(now, std::nullopt, TopicOrder::name)[0].rate_known);
}

TEST(TopicRows, ABrokerThatRestartedHasNoNegativeRate) {
  const auto before = reading({topic("a", 1000, 100, 1s)}, 100s);
  const auto now = reading({topic("a", 3, 300, 1s)}, 102s);
  EXPECT_DOUBLE_EQ(topic_rows(now, before, TopicOrder::name)[0].events_per_second, 0);
}

TEST(TopicRows, EachOrderButNamesIsDescending) {
  const auto before = reading({topic("a", 0, 0, 0s), topic("b", 50, 0, 0s), topic("c", 0, 0, 0s)}, 1s);
  const auto now = reading({topic("a", 7, 30, 3s), topic("b", 51, 20, 2s), topic("c", 3, 90, 9s)}, 2s);
  EXPECT_THAT(names(topic_rows(now, before, TopicOrder::name)), ElementsAre("a", "b", "c"));
  EXPECT_THAT(names(topic_rows(now, before, TopicOrder::rate)), ElementsAre("a", "c", "b"));
  EXPECT_THAT(names(topic_rows(now, before, TopicOrder::bytes)), ElementsAre("c", "a", "b"));
  EXPECT_THAT(names(topic_rows(now, before, TopicOrder::offset)), ElementsAre("b", "a", "c"));
  EXPECT_THAT(names(topic_rows(now, before, TopicOrder::age)), ElementsAre("b", "a", "c"));
}

TEST(TopicsTable, ShowsRateBytesOffsetHistoryAgeAndSources) {
  const auto before = reading({topic("clock", 10, 1'000, 1s)}, 100s);
  auto now = reading({topic("clock", 12, 1'200, 1500ms), topic("load", 3, 4'096, 2min)}, 102s);
  now.topics[0].history_events = 10;
  const SourcesByTopic sources{{"clock", {"clock@a", "clock@b"}}};
  const auto rows = topic_rows(now, before, TopicOrder::name);
  EXPECT_THAT(topics_table(rows, now, sources, 9).lines(80),
              ElementsAre("TOPIC  RATE/s   BYTES/s     BYTES  OFFSET  HISTORY   AGE  SOURCES",
                          "clock     1.0     100 B  1.17 KiB      12       10  1.5s  clock@a +1",
                          "load      1.5  2.00 KiB  4.00 KiB       3        0    2m  -"));
}

TEST(TopicsTable, ARowIsFormattedAsAJsonObject) {
  const auto now = reading({topic("a\"b", 2, 10, 1s)}, 102s);
  const auto rows = topic_rows(now, reading({topic("a\"b", 1, 5, 1s)}, 101s), TopicOrder::name);
  EXPECT_EQ(topic_json(rows[0], now, {{"a\"b", {"x"}}}),
            "{\"topic\":\"a\\\"b\",\"events_per_second\":1.000,\"bytes_per_second\":5.000,\"events\":2,"
            "\"bytes\":10,"
            "\"offset\":2,\"position\":0,\"value_bytes\":0,\"history_events\":0,\"received\":"
            "\"1970-01-01T00:16:39Z\",\"age_seconds\":1.000,\"sources\":[\"x\"]}");
}

}  // namespace
}  // namespace backplane::cli
