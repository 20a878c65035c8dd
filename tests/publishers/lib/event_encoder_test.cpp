#include "publishers/lib/event_encoder.hpp"

#include <limits>

#include <gmock/gmock.h>

#include "backplane/events/v1/quote.pb.h"
#include "backplane/v1/event.pb.h"
#include "core/wire/scan.hpp"

namespace backplane::publishing {
namespace {

v1::Event decode(std::uint64_t sequence, const std::string& tail) {
  char bytes[sequence_field_bytes_max];
  const std::string event = encode_head("clock@host7", 0x0102'0304'0506'0708) +
                            std::string(bytes, encode_sequence(sequence, bytes)) + tail;
  EXPECT_EQ(wire::scan_event(std::as_bytes(std::span(event))).fault, wire::EventFault::none);
  v1::Event parsed;
  EXPECT_TRUE(parsed.ParseFromString(event));
  return parsed;
}

TEST(EventEncoder, WhatItWritesIsWhatProtobufReads) {
  std::string tail;
  append_time(tail, 1'700'000'000'123'456'789);
  append_text(tail, "fine today");
  append_attributes(tail, {{"unit", "°C"}, {"empty", ""}});
  const v1::Event event = decode(300, tail);
  EXPECT_EQ(event.source(), "clock@host7");
  EXPECT_EQ(event.session(), 0x0102'0304'0506'0708U);
  EXPECT_EQ(event.sequence(), 300U);
  EXPECT_EQ(event.time().seconds(), 1'700'000'000);
  EXPECT_EQ(event.time().nanos(), 123'456'789);
  EXPECT_EQ(event.text(), "fine today");
  EXPECT_EQ(event.attributes().at("unit"), "°C");
  EXPECT_EQ(event.attributes().at("empty"), "");
}

TEST(EventEncoder, NanosecondsCountForwardBefore1970) {
  std::string tail;
  append_time(tail, -1);
  const v1::Event event = decode(1, tail);
  EXPECT_EQ(event.time().seconds(), -1);
  EXPECT_EQ(event.time().nanos(), 999'999'999);
}

TEST(EventEncoder, SequencesOfEveryLengthRoundTrip) {
  for (std::uint64_t sequence : {std::uint64_t{1}, std::uint64_t{127}, std::uint64_t{128},
                                 std::numeric_limits<std::uint64_t>::max()}) {
    EXPECT_EQ(decode(sequence, "").sequence(), sequence);
  }
}

TEST(EventEncoder, ASerialisedMessageIsEncodedLikeTheMessageItself) {
  backplane::events::v1::Quote quote;
  quote.set_symbol("MSFT");
  std::string made;
  append_message(made, quote, quote.ByteSizeLong());
  std::string given;
  append_serialized(given, "backplane.events.v1.Quote", quote.SerializeAsString());
  EXPECT_EQ(given, made);
}

TEST(EventEncoder, AMessageIsPackedUnderItsFullTypeName) {
  backplane::events::v1::Quote quote;
  quote.set_symbol("MSFT");
  quote.set_price(39.81);
  std::string tail;
  append_message(tail, quote, quote.ByteSizeLong());
  const v1::Event event = decode(1, tail);
  EXPECT_EQ(event.message().type_url(), "type.googleapis.com/backplane.events.v1.Quote");
  backplane::events::v1::Quote unpacked;
  ASSERT_TRUE(event.message().UnpackTo(&unpacked));
  EXPECT_EQ(unpacked.symbol(), "MSFT");
  EXPECT_EQ(unpacked.price(), 39.81);
}

TEST(EventEncoder, AnEmptyTextIsAPayload) {
  std::string tail;
  append_text(tail, "");
  EXPECT_EQ(decode(1, tail).payload_case(), v1::Event::kText);
  EXPECT_EQ(decode(1, "").payload_case(), v1::Event::PAYLOAD_NOT_SET);
  tail.clear();
  append_binary(tail, std::string_view("\0\xff", 2));
  EXPECT_EQ(decode(1, tail).binary(), std::string_view("\0\xff", 2));
}

}  // namespace
}  // namespace backplane::publishing
