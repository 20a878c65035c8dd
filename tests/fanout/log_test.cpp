#include "fanout/log/log.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::fanout {
namespace {

using ::testing::ElementsAre;

constexpr LogOptions small{
    .segment_bytes = 100, .segment_messages = 8, .bytes_max = 1000, .spare_segments_max = 2};

void append(Log& log, std::string_view bytes, std::uint32_t route = 0) {
  log.append(bytes, {TopicId{0}, RouteId{route}, 1});
}

/// @returns the runs that a reader sees.
std::vector<std::string> read(LogReader& reader, std::uint64_t end) {
  std::vector<std::string> runs;
  reader.read_until(end, [&](Segment& segment, std::uint32_t first, std::uint32_t last, std::uint32_t) {
    runs.emplace_back(segment.bytes(first, last));
  });
  return runs;
}

TEST(Log, AdjacentMessagesOfOneRouteAreReadAsOneRun) {
  Log log(small, 1);
  LogReader reader(log, 0);
  for (const auto route : {1u, 1u, 2u, 1u}) append(log, "x", route);
  EXPECT_THAT(read(reader, 4), ElementsAre("xx", "x", "x"));
}

TEST(Log, AMessageNeverSpansTwoSegments) {
  Log log(small, 1);
  LogReader reader(log, 0);
  append(log, std::string(60, 'a'));
  append(log, std::string(60, 'b'));
  append(log, std::string(500, 'c'));
  append(log, std::string(40, 'd'));
  EXPECT_THAT(read(reader, 4), ElementsAre(std::string(60, 'a'), std::string(60, 'b'), std::string(500, 'c'),
                                           std::string(40, 'd')));
}

TEST(Log, AReaderMayStopAtAnyMessage) {
  Log log(small, 1);
  LogReader reader(log, 0);
  for (int i = 0; i < 20; ++i) append(log, std::to_string(i));
  std::string all;
  for (std::uint64_t end = 1; end <= 20; ++end) {
    for (const std::string& run : read(reader, end)) all += run;
  }
  EXPECT_EQ(all, "012345678910111213141516171819");
}

TEST(Log, SegmentsThatOneOfTwoReadersHasNotReadAreKept) {
  Log log(small, 2);
  LogReader fast(log, 0);
  LogReader slow(log, 1);
  for (int i = 0; i < 5; ++i) append(log, std::string(90, static_cast<char>('a' + i)));
  (void)read(fast, 5);
  append(log, std::string(90, 'f'));
  EXPECT_EQ(log.bytes_in_use(), 600u);
  EXPECT_EQ(read(slow, 6).size(), 6u);
  (void)read(fast, 6);
  append(log, std::string(90, 'g'));
  EXPECT_EQ(log.bytes_in_use(), 200u);  // a reader stays in the last segment that it has read
}

TEST(Log, APinnedSegmentDoesNotChange) {
  Log log(small, 1);
  LogReader reader(log, 0);
  append(log, std::string(90, 'a'));
  Segment* pinned = nullptr;
  reader.read_until(1, [&](Segment& segment, std::uint32_t, std::uint32_t, std::uint32_t) {
    reader.pin(segment);
    pinned = &segment;
  });
  for (std::uint64_t i = 2; i < 50; ++i) {
    append(log, std::string(90, 'z'));
    (void)read(reader, i);
  }
  EXPECT_EQ(pinned->bytes(0, 1), std::string(90, 'a'));
  EXPECT_LE(log.bytes_in_use(), 300u);
  reader.unpin(*pinned);
  append(log, std::string(90, 'z'));
  EXPECT_LE(log.bytes_in_use(), 200u);
}

TEST(Log, AboveItsLimitItEvictsTheOldestMessages) {
  Log log(small, 1);
  LogReader reader(log, 0);
  for (std::uint64_t i = 1; i <= 10; ++i) append(log, std::string(90, 'a'));
  EXPECT_EQ(log.evicted(), 0u);
  append(log, std::string(90, 'a'));
  EXPECT_EQ(log.evicted(), 3u);  // 100 bytes too many, and an eighth of the limit
}

}  // namespace
}  // namespace backplane::fanout
