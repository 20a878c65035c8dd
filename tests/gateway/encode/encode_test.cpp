#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/util/delimited_message_util.h>
#include <gtest/gtest.h>

#include "backplane/events/v1/clock_tick.pb.h"
#include "backplane/events/v1/quote.pb.h"
#include "backplane/events/v1/text_message.pb.h"
#include "backplane/v1/event.pb.h"
#include "backplane/v1/session.pb.h"
#include "core/wire/stamp.hpp"
#include "gateway/encode/encoder.hpp"
#include "gateway/encode/websocket_frame.hpp"
#include "tests/golden/golden.hpp"

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

TEST(Encode, ATypedPayloadIsWrittenAsJsonAfterTheTopic) {
  EXPECT_EQ(encode(Format::text, with_message(quote()), "stock.MSFT"),
            "stock.MSFT {\"symbol\":\"MSFT\",\"price\":39.81,\"time\":\"2000-01-01T00:00:00Z\"}\n");
}

TEST(Encode, AServerSentEventHasTheResumeTokenAndTheJsonObject) {
  const v1::Event event = with_text("two\nlines");
  EXPECT_EQ(encode(Format::sse, event),
            "id: 00c0ffee0000002a:9\ndata: " + encode(Format::json, event) + "\n");
}

TEST(Encode, TheIdOfAServerSentEventNamesThePositionsThatItIsGiven) {
  const std::string bytes = stamped(with_text("x"));
  const StreamPositions positions{{2, 5}, {1, 7}};
  Encoder encoder;
  std::string out;
  ASSERT_TRUE(encoder.encode(Format::sse, "t", std::as_bytes(std::span(bytes)), stamp, out,
                             {.late = true, .resume_at = &positions}));
  EXPECT_THAT(out, ::testing::StartsWith("id: 0000000000000002:5,0000000000000001:7\ndata: {"));
  EXPECT_THAT(out, ::testing::HasSubstr(",\"type\":\"\",\"late\":true,\"text\":\"x\"}\n"));
  out.clear();
  ASSERT_TRUE(
      encoder.encode(Format::proto, "t", std::as_bytes(std::span(bytes)), stamp, out, {.late = true}));
  v1::ServerMessage message;
  ASSERT_TRUE(message.ParseFromString(out.substr(1)));
  EXPECT_TRUE(message.delivery().late());
  EXPECT_EQ(message.delivery().event().text(), "x");
}

TEST(Encode, AWebSocketFrameHasTheJsonObjectWithoutItsLineEnd) {
  for (const std::size_t size : {0u, 1000u, 70'000u}) {
    const v1::Event event = with_text(std::string(size, 'x'));
    std::string expected = encode(Format::json, event);
    websocket::frame_lines(0, expected);
    EXPECT_EQ(encode(Format::websocket, event), expected);
    EXPECT_TRUE(expected.ends_with("\"}"));
  }
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

TEST(Encode, JsonHasANullTimeIfThePublisherSetNone) {
  EXPECT_THAT(encode(Format::json, with_text("x")), HasSubstr("\"time\":null,"));
  v1::Event event = with_text("x");
  event.mutable_time()->set_seconds(std::numeric_limits<std::int64_t>::max());
  EXPECT_THAT(encode(Format::json, event), HasSubstr("\"time\":null,"));
}

TEST(Encode, DefaultsArePrintedUnderTheirProtoNames) {
  EXPECT_EQ(encode(Format::text, with_message(events::v1::ClockTick{}), "clock"),
            "clock {\"tick\":\"0\",\"interval_seconds\":0}\n");
}

TEST(Encode, EscapedTextStaysOnOneLine) {
  EXPECT_EQ(encode(Format::text, with_text("a\nb\r\tc\\d\x1b[2J\x7f\xc3\xa9")),
            "t a\\nb\\r\\tc\\\\d\\x1b[2J\\x7f\xc3\xa9\n");
  EXPECT_EQ(encode(Format::text, with_text(std::string("\0", 1))), "t \\x00\n");
}

TEST(Encode, EscapedJsonTextStaysAString) {
  EXPECT_THAT(encode(Format::json, with_text("\"}\n\\\x01\xc3\xa9")),
              HasSubstr("\"type\":\"\",\"text\":\"\\\"}\\n\\\\\\u0001\xc3\xa9\"}\n"));
}

TEST(Encode, ATopicWithQuotesStaysAJsonString) {
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

TEST(Encode, AnUnknownTypeIsWrittenAsItsNameAndBytes) {
  v1::Event event;
  event.mutable_message()->set_type_url("type.googleapis.com/acme.\"Thing\"");
  event.mutable_message()->set_value("\x01\x02");
  EXPECT_EQ(encode(Format::text, event),
            "t {\"@type\":\"type.googleapis.com/acme.\\\"Thing\\\"\",\"value\":\"AQI=\"}\n");
  EXPECT_THAT(encode(Format::json, event), HasSubstr("\"type\":\"acme.\\\"Thing\\\"\",\"data\":{\"@type\":"));
}

TEST(Encode, BytesThatDoNotMatchTheirTypeAreWrittenLikeAnUnknownType) {
  v1::Event event;
  event.mutable_message()->set_type_url("type.googleapis.com/backplane.events.v1.Quote");
  event.mutable_message()->set_value("\xff\xff\xff");
  EXPECT_EQ(encode(Format::text, event),
            "t {\"@type\":\"type.googleapis.com/backplane.events.v1.Quote\",\"value\":\"////\"}\n");
}

TEST(Encode, ATimeOutsideOfTheCalendarLeavesNoPartialJson) {
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

TEST(Encode, BytesThatAreNoEventAreRefusedAndAppendNothing) {
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

TEST(Encode, ProtoHasTheEventsOwnBytesAfterTheirLength) {
  v1::Event event = with_message(quote());
  event.set_source("quotes@host7");
  const std::string bytes = stamped(event);
  const std::string framed = encode_bytes(Format::proto, bytes, "stock.MSFT");
  google::protobuf::io::ArrayInputStream input(framed.data(), static_cast<int>(framed.size()));
  v1::ServerMessage message;
  bool clean_end = false;
  ASSERT_TRUE(google::protobuf::util::ParseDelimitedFromZeroCopyStream(&message, &input, &clean_end));
  EXPECT_EQ(input.ByteCount(), static_cast<std::int64_t>(framed.size()));
  EXPECT_EQ(message.delivery().topic(), "stock.MSFT");
  EXPECT_EQ(message.delivery().event().source(), "quotes@host7");
  EXPECT_EQ(message.delivery().event().stamp().position(), stamp.position);
  EXPECT_TRUE(framed.ends_with(bytes));
}

TEST(Encode, ProtoEqualsTheGoldenBytes) {
  EXPECT_EQ(encode_bytes(Format::proto, golden::bytes("stamped_event.hex"), "clock"),
            golden::bytes("server_delivery.hex"));
}

TEST(Encode, ProtoLengthsGrowWithTheEvent) {
  for (const std::size_t size : {0u, 1u, 60u, 80u, 127u, 128u, 200u, 16'300u, 16'384u, 300'000u}) {
    const std::string framed = encode(Format::proto, with_text(std::string(size, 'x')));
    google::protobuf::io::ArrayInputStream input(framed.data(), static_cast<int>(framed.size()));
    v1::ServerMessage message;
    ASSERT_TRUE(google::protobuf::util::ParseDelimitedFromZeroCopyStream(&message, &input, nullptr)) << size;
    EXPECT_EQ(message.delivery().event().text().size(), size);
    EXPECT_EQ(input.ByteCount(), static_cast<std::int64_t>(framed.size()));
  }
}

TEST(Encode, ReportsAMissingTypeAndUsesItOnceItIsAdded) {
  Encoder encoder;
  std::string out;
  v1::Event event;
  event.mutable_message()->set_type_url("type.googleapis.com/acme.Thing");
  const std::string bytes = stamped(event);
  const auto view = std::as_bytes(std::span(bytes));
  ASSERT_TRUE(encoder.encode(Format::text, "t", view, stamp, out));
  EXPECT_THAT(encoder.payloads().take_unknown_types(), ::testing::ElementsAre("acme.Thing"));
  google::protobuf::FileDescriptorSet set;
  set.add_file()->set_name("acme.proto");
  set.mutable_file(0)->set_package("acme");
  set.mutable_file(0)->add_message_type()->set_name("Thing");
  ASSERT_EQ(encoder.payloads().add_types(set.SerializeAsString()).refusal, TypeRegistry::Refusal::none);
  out.clear();
  ASSERT_TRUE(encoder.encode(Format::text, "t", view, stamp, out));
  EXPECT_EQ(out, "t {}\n");
}

TEST(Encode, FormatsHaveTheNamesOfTheProtocol) {
  EXPECT_EQ(parse_format("text"), Format::text);
  EXPECT_EQ(parse_format("text+offset"), Format::text_offset);
  EXPECT_EQ(parse_format("json"), Format::json);
  EXPECT_EQ(parse_format("proto"), Format::proto);
  EXPECT_EQ(parse_format("xml"), std::nullopt);
  EXPECT_EQ(name(Format::text_offset), "text+offset");
}

}  // namespace
}  // namespace backplane::gateway
