#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backplane/events/v1/clock_tick.pb.h"
#include "backplane/events/v1/quote.pb.h"
#include "backplane/events/v1/text_message.pb.h"
#include "backplane/v1/event.pb.h"
#include "core/wire/stamp.hpp"
#include "gateway/encode/encoder.hpp"
#include "gateway/encode/text.hpp"

namespace backplane::gateway {
namespace {

using ::testing::HasSubstr;

const wire::Stamp stamp{.stream = 0x00c0ffee'0000002a,
                        .position = 9,
                        .offset = 17,
                        .previous = 3,
                        .received_ns = 1'000'000'000'500'000'000};

std::string stamped(const v1::Event& event) {
  std::string bytes = event.SerializeAsString();
  std::array<std::byte, wire::stamp_bytes> tail{};
  wire::write_stamp(stamp, tail);
  bytes.append(reinterpret_cast<const char*>(tail.data()), tail.size());
  return bytes;
}

std::string encode_bytes(Format format, const std::string& bytes, std::string_view topic) {
  Encoder encoder;
  std::string out;
  const std::span<const char> view{bytes.data(), bytes.size()};
  if (!encoder.encode(format, topic, std::as_bytes(view), stamp, out)) return "(refused)" + out;
  return out;
}

std::string encode(Format format, const v1::Event& event, std::string_view topic = "t") {
  return encode_bytes(format, stamped(event), topic);
}

v1::Event with_text(std::string text) {
  v1::Event event;
  event.set_text(std::move(text));
  return event;
}

v1::Event with_message(const google::protobuf::Message& message) {
  v1::Event event;
  event.mutable_message()->PackFrom(message);
  return event;
}

events::v1::Quote quote() {
  events::v1::Quote quote;
  quote.set_symbol("MSFT");
  quote.set_price(39.81);
  quote.mutable_time()->set_seconds(946'684'800);
  return quote;
}

TEST(Encode, ATypedPayloadIsItsJsonBehindTheTopic) {
  EXPECT_EQ(encode(Format::text, with_message(quote()), "stock.MSFT"),
            "stock.MSFT {\"symbol\":\"MSFT\",\"price\":39.81,\"time\":\"2000-01-01T00:00:00Z\"}\n");
}

TEST(Encode, TextWithOffsetHasTheOffsetBetweenTopicAndPayload) {
  EXPECT_EQ(encode(Format::text_offset, with_text("hello there")), "t 17 hello there\n");
}

TEST(Encode, JsonHasTheWholeEnvelope) {
  v1::Event event = with_message(quote());
  event.set_source("quotes@host7");
  event.set_sequence(12);
  event.mutable_time()->set_seconds(946'684'800);
  event.mutable_time()->set_nanos(250'000'000);
  EXPECT_EQ(encode(Format::json, event, "stock.MSFT"),
            "{\"topic\":\"stock.MSFT\",\"stream\":\"00c0ffee0000002a\",\"position\":9,\"offset\":17,"
            "\"time\":\"2000-01-01T00:00:00.250Z\",\"received\":\"2001-09-09T01:46:40.500Z\","
            "\"source\":\"quotes@host7\",\"sequence\":12,\"type\":\"backplane.events.v1.Quote\","
            "\"data\":{\"symbol\":\"MSFT\",\"price\":39.81,\"time\":\"2000-01-01T00:00:00Z\"}}\n");
}

TEST(Encode, JsonSaysNullWhereThePublisherGaveNoTime) {
  EXPECT_THAT(encode(Format::json, with_text("x")), HasSubstr("\"time\":null,"));
  v1::Event event = with_text("x");
  event.mutable_time()->set_seconds(std::numeric_limits<std::int64_t>::max());
  EXPECT_THAT(encode(Format::json, event), HasSubstr("\"time\":null,"));
}

TEST(Encode, DefaultsArePrintedUnderTheirProtoNames) {
  EXPECT_EQ(encode(Format::text, with_message(events::v1::ClockTick{}), "clock"),
            "clock {\"tick\":\"0\",\"interval_seconds\":0}\n");
}

TEST(Encode, TextIsEscapedSoThatItStaysOnItsLine) {
  EXPECT_EQ(encode(Format::text, with_text("a\nb\r\tc\\d\x1b[2J\x7f\xc3\xa9")),
            "t a\\nb\\r\\tc\\\\d\\x1b[2J\\x7f\xc3\xa9\n");
  EXPECT_EQ(encode(Format::text, with_text(std::string("\0", 1))), "t \\x00\n");
}

TEST(Encode, JsonTextIsEscapedSoThatItStaysAString) {
  EXPECT_THAT(encode(Format::json, with_text("\"}\n\\\x01\xc3\xa9")),
              HasSubstr("\"type\":\"\",\"text\":\"\\\"}\\n\\\\\\u0001\xc3\xa9\"}\n"));
}

TEST(Encode, ATopicThatHoldsQuotesStaysAJsonString) {
  EXPECT_THAT(encode(Format::json, with_text("x"), "a\"\\b"), HasSubstr("{\"topic\":\"a\\\"\\\\b\","));
}

TEST(Encode, BytesAreBase64) {
  v1::Event event;
  event.set_binary(std::string("\x00\xff\n", 3));
  EXPECT_EQ(encode(Format::text, event), "t AP8K\n");
  EXPECT_THAT(encode(Format::json, event), HasSubstr("\"type\":\"\",\"base64\":\"AP8K\"}\n"));
}

TEST(Encode, AnEventWithoutPayloadHasAnEmptyOne) {
  EXPECT_EQ(encode(Format::text, v1::Event{}), "t \n");
  EXPECT_EQ(encode(Format::text_offset, v1::Event{}), "t 17 \n");
  EXPECT_THAT(encode(Format::json, v1::Event{}), HasSubstr("\"type\":\"\"}\n"));
}

TEST(Encode, ATypeThatNobodyKnowsIsItsNameAndItsBytes) {
  v1::Event event;
  event.mutable_message()->set_type_url("type.googleapis.com/acme.\"Thing\"");
  event.mutable_message()->set_value("\x01\x02");
  EXPECT_EQ(encode(Format::text, event),
            "t {\"@type\":\"type.googleapis.com/acme.\\\"Thing\\\"\",\"value\":\"AQI=\"}\n");
  EXPECT_THAT(encode(Format::json, event), HasSubstr("\"type\":\"acme.\\\"Thing\\\"\",\"data\":{\"@type\":"));
}

TEST(Encode, BytesThatAreNotOfTheirTypeAreShownAsOfAnUnknownOne) {
  v1::Event event;
  event.mutable_message()->set_type_url("type.googleapis.com/backplane.events.v1.Quote");
  event.mutable_message()->set_value("\xff\xff\xff");
  EXPECT_EQ(encode(Format::text, event),
            "t {\"@type\":\"type.googleapis.com/backplane.events.v1.Quote\",\"value\":\"////\"}\n");
}

TEST(Encode, ATimeOutsideOfTheCalendarLeavesNoHalfWrittenJson) {
  events::v1::Quote bad = quote();
  bad.mutable_time()->set_seconds(std::numeric_limits<std::int64_t>::max());
  EXPECT_THAT(encode(Format::text, with_message(bad)), HasSubstr("t {\"@type\":"));
}

TEST(Encode, LineEndsInTypedPayloadsStayInsideTheirJson) {
  events::v1::TextMessage message;
  message.set_author("a\n!BYE");
  message.set_text("\r\n+OK \x1b \x7f");
  const std::string line = encode(Format::text, with_message(message));
  EXPECT_EQ(line.find_first_of(std::string("\r\n\x1b\x7f\0", 5)), line.size() - 1) << line;
}

TEST(Encode, WhatIsNotAnEventIsRefusedAndLeavesNothingBehind) {
  EXPECT_EQ(encode_bytes(Format::text, "", "t"), "(refused)");
  EXPECT_EQ(encode_bytes(Format::json, std::string(wire::stamp_bytes - 1, 'x'), "t"), "(refused)");
  std::string bytes = stamped(with_text("hello"));
  bytes[1] = '\x7f';  // the text's length now points past the end
  EXPECT_EQ(encode_bytes(Format::text, bytes, "t"), "(refused)");
  EXPECT_EQ(encode_bytes(Format::json, bytes, "t"), "(refused)");
}

TEST(Encode, AnyBytesMakeOneLineOrAreRefused) {
  route_protobuf_log();
  v1::Event event = with_message(quote());
  event.set_source("s");
  const std::string whole = stamped(event);
  for (std::size_t at = 0; at + wire::stamp_bytes < whole.size(); ++at) {
    for (const int flip : {0x01, 0x08, 0x80, 0xff}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
      for (const Format format : {Format::text, Format::text_offset, Format::json}) {
        const std::string line = encode_bytes(format, bytes, "t");
        if (line == "(refused)") continue;
        ASSERT_EQ(line.find('\n'), line.size() - 1) << "byte " << at << ": " << line;
      }
    }
  }
}

TEST(Encode, FormatsHaveTheNamesOfTheProtocol) {
  EXPECT_EQ(parse_format("text"), Format::text);
  EXPECT_EQ(parse_format("text+offset"), Format::text_offset);
  EXPECT_EQ(parse_format("json"), Format::json);
  EXPECT_EQ(parse_format("xml"), std::nullopt);
  EXPECT_EQ(name(Format::text_offset), "text+offset");
}

TEST(Escapes, AreUndoneToTheSameBytes) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  all += "\\n\\x41\\\\";
  std::string escaped;
  append_escaped(all, escaped);
  EXPECT_EQ(unescape(escaped), all);
}

TEST(Escapes, ThatAreUnknownStand) {
  EXPECT_EQ(unescape(R"(\q \ \xZZ \x4 \)"), R"(\q \ \xZZ \x4 \)");
  EXPECT_EQ(unescape(R"(\x4Aa\x4a\\x41)"), R"(JaJ\x41)");
}

TEST(Base64, PadsAsRfc4648Says) {
  const auto base64 = [](std::string_view bytes) {
    std::string out;
    append_base64(bytes, out);
    return out;
  };
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foob"), "Zm9vYg==");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
}

TEST(JsonStrings, AreJsonWhateverTheBytes) {
  std::string out;
  append_json_string("\xff\x80 ok", out);
  EXPECT_EQ(out, "\"\\u00ff\\u0080 ok\"");
}

}  // namespace
}  // namespace backplane::gateway
