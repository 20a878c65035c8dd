#include "core/wire/stamp.hpp"

#include <limits>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "backplane/v1/event.pb.h"
#include "tests/golden/golden.hpp"

namespace backplane::wire {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string written(const Stamp& stamp) {
  std::string out(stamp_bytes, '\0');
  write_stamp(stamp, std::as_writable_bytes(std::span<char, stamp_bytes>(out.data(), stamp_bytes)));
  return out;
}

const Stamp golden_stamp{.stream = 0x0123456789abcdef,
                         .position = 1000,
                         .offset = 7,
                         .previous = 993,
                         .received_ns = 946'684'800'123'456'789};

TEST(WriteStamp, WritesTheGoldenBytes) {
  EXPECT_EQ(written(golden_stamp), golden::bytes("stamp.hex"));
}

TEST(WriteStamp, WritesFieldsThatAreZero) {
  EXPECT_EQ(written(Stamp{}), golden::bytes("stamp_zero.hex"));
  EXPECT_EQ(written(Stamp{}).size(), 47U);
}

TEST(WriteStamp, StampedEventIsTheEventAndThenTheStamp) {
  EXPECT_EQ(golden::bytes("event.hex") + written(golden_stamp), golden::bytes("stamped_event.hex"));
}

TEST(WriteStamp, ProtobufReadsAndWritesTheGoldenEventUnchanged) {
  const std::string bytes = golden::bytes("stamped_event.hex");
  v1::Event event;
  ASSERT_TRUE(event.ParseFromString(bytes));
  EXPECT_EQ(event.source(), "clock@host7");
  EXPECT_EQ(event.session(), 0x1122334455667788U);
  EXPECT_EQ(event.sequence(), 300U);
  EXPECT_EQ(event.time().seconds(), 946'684'800);
  EXPECT_EQ(event.time().nanos(), 500'000'000);
  EXPECT_EQ(event.text(), "grüße");
  EXPECT_EQ(event.attributes().at("unit"), "°C");
  EXPECT_EQ(event.stamp().stream(), golden_stamp.stream);
  EXPECT_EQ(event.stamp().position(), golden_stamp.position);
  EXPECT_EQ(event.stamp().offset(), golden_stamp.offset);
  EXPECT_EQ(event.stamp().previous(), golden_stamp.previous);
  EXPECT_EQ(event.stamp().received_ns(), golden_stamp.received_ns);
  EXPECT_EQ(event.SerializeAsString(), bytes);
}

TEST(ReadStamp, FindsTheStampAtTheEndOfTheGoldenEvent) {
  const std::string bytes = golden::bytes("stamped_event.hex");
  EXPECT_EQ(read_stamp(bytes_of(bytes)), golden_stamp);
  const std::span<const std::byte> sent = without_stamp(bytes_of(bytes));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(sent.data()), sent.size()), golden::bytes("event.hex"));
}

TEST(ReadStamp, ReadsBackWhatWasWritten) {
  std::mt19937_64 random{3};
  for (int round = 0; round < 1'000; ++round) {
    const Stamp stamp{.stream = random(),
                      .position = random(),
                      .offset = random() >> (random() % 64),
                      .previous = random() >> (random() % 64),
                      .received_ns = static_cast<std::int64_t>(random())};
    EXPECT_EQ(read_stamp(bytes_of("event" + written(stamp))), stamp);
  }
  const Stamp edge{.stream = std::numeric_limits<std::uint64_t>::max(),
                   .received_ns = std::numeric_limits<std::int64_t>::min()};
  EXPECT_EQ(read_stamp(bytes_of(written(edge))), edge);
  EXPECT_EQ(read_stamp(bytes_of(written(Stamp{}))), Stamp{});
}

TEST(IsStamped, ReadsThePositionOnly) {
  const std::string bytes = golden::bytes("stamped_event.hex");
  EXPECT_TRUE(is_stamped(bytes_of(bytes), golden_stamp.position));
  EXPECT_FALSE(is_stamped(bytes_of(bytes), golden_stamp.position + 1));
  EXPECT_FALSE(is_stamped(bytes_of(bytes).first(stamp_bytes - 1), golden_stamp.position));
}

TEST(StampedOffset, ReadsTheOffsetOnly) {
  EXPECT_EQ(stamped_offset(bytes_of(golden::bytes("stamped_event.hex"))), golden_stamp.offset);
  const std::string alone = written({.offset = std::numeric_limits<std::uint64_t>::max()});
  EXPECT_EQ(stamped_offset(bytes_of(alone)), std::numeric_limits<std::uint64_t>::max());
}

TEST(ReadStamp, RefusesATailWithAnyDamagedTag) {
  for (const std::size_t at : {0U, 1U, 2U, 11U, 20U, 29U, 38U}) {
    for (int flip = 1; flip < 256; ++flip) {
      std::string bytes = written(golden_stamp);
      bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ flip);
      EXPECT_EQ(read_stamp(bytes_of(bytes)), std::nullopt) << at << " " << flip;
    }
  }
}

TEST(ReadStamp, RefusesATailThatIsCutOrFollowedByOtherBytes) {
  const std::string event = golden::bytes("stamped_event.hex");
  EXPECT_EQ(read_stamp({}), std::nullopt);
  EXPECT_EQ(read_stamp(bytes_of(golden::bytes("event.hex"))), std::nullopt);
  for (std::size_t cut = 1; cut < event.size(); ++cut) {
    EXPECT_EQ(read_stamp(bytes_of(event.substr(0, event.size() - cut))), std::nullopt) << cut;
  }
  EXPECT_EQ(read_stamp(bytes_of(event + "x")), std::nullopt);
  EXPECT_EQ(read_stamp(bytes_of(written(golden_stamp).substr(1))), std::nullopt);
}

TEST(ReadStamp, RefusesAStampThatIsNotInTheBrokersForm) {
  // Still valid protobuf: fields that are 0 omitted, or in another order.
  v1::Event sparse;
  sparse.set_text(std::string(64, 'x'));
  sparse.mutable_stamp()->set_position(1);
  EXPECT_EQ(read_stamp(bytes_of(sparse.SerializeAsString())), std::nullopt);

  std::string reordered = written(golden_stamp);
  for (std::size_t i = 0; i < 9; ++i) std::swap(reordered[2 + i], reordered[11 + i]);
  v1::Event event;
  ASSERT_TRUE(event.ParseFromString(reordered));
  ASSERT_EQ(event.stamp().position(), golden_stamp.position);
  EXPECT_EQ(read_stamp(bytes_of(reordered)), std::nullopt);
}

TEST(LostEvents, AreThoseOfANoticeAndOfNothingElse) {
  const std::string stamp = golden::bytes("stamp.hex");
  EXPECT_EQ(lost_events(bytes_of(golden::bytes("lost_events.hex") + stamp)), 151u);
  EXPECT_EQ(lost_events(bytes_of(golden::bytes("stamped_event.hex"))), 0u);
  EXPECT_EQ(lost_events(bytes_of(stamp)), 0u);
  // The tag's byte, in a text and in bytes that are no event.
  v1::Event text;
  text.set_text("x" + std::string(1, '\x71') + "12345678");
  EXPECT_EQ(lost_events(bytes_of(text.SerializeAsString() + stamp)), 0u);
  const std::string number("\x07\0\0\0\0\0\0\0", 8);
  EXPECT_EQ(lost_events(bytes_of("\x71" + number + "\x71" + number + stamp)), 0u);
  EXPECT_EQ(lost_events(bytes_of("\xff\x71" + number + stamp)), 0u);
}

}  // namespace
}  // namespace backplane::wire
