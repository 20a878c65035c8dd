#include "gateway/session/notice.hpp"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/util/delimited_message_util.h>
#include <gtest/gtest.h>

#include "backplane/v1/session.pb.h"

namespace backplane::gateway {
namespace {

const Notice gap{.kind = Notice::Kind::gap,
                 .topic = "stock.\"MSFT",
                 .stream = 0x00c0ffee0000002a,
                 .first = 101,
                 .last = 105,
                 .reason = "slow_consumer"};
const Notice reset{.kind = Notice::Kind::reset, .topic = "clock", .stream = 0x00c0ffee0000002a, .reason = {}};

/// What `append` appends to other bytes, which must stay unchanged.
template <class Append>
std::string appended(Append append) {
  std::string out = "before\n";
  append(out);
  EXPECT_TRUE(out.starts_with("before\n"));
  return out.substr(7);
}

std::string notice(Format format, const Notice& notice) {
  return appended([&](std::string& out) { append_notice(format, notice, out); });
}
std::string session_line(Format format, std::string_view word, std::string_view text) {
  return appended([&](std::string& out) { append_session_line(format, word, text, out); });
}

v1::ServerMessage parsed(const std::string& framed) {
  google::protobuf::io::ArrayInputStream input(framed.data(), static_cast<int>(framed.size()));
  v1::ServerMessage message;
  EXPECT_TRUE(google::protobuf::util::ParseDelimitedFromZeroCopyStream(&message, &input, nullptr));
  EXPECT_EQ(input.ByteCount(), static_cast<std::int64_t>(framed.size()));
  return message;
}

TEST(Notices, AreLinesInText) {
  for (const Format format : {Format::text, Format::text_offset}) {
    EXPECT_EQ(notice(format, gap), "!GAP stock.\"MSFT 101 105 slow_consumer\n");
    EXPECT_EQ(notice(format, reset), "!RESET clock\n");
    EXPECT_EQ(session_line(format, "WAIT", "broker"), "!WAIT broker\n");
    EXPECT_EQ(session_line(format, "BYE", "drain"), "!BYE drain\n");
  }
}

TEST(Notices, AreNamedEventsInServerSentEvents) {
  EXPECT_EQ(notice(Format::sse, gap), "event: gap\ndata: " + notice(Format::json, gap) + "\n");
  EXPECT_EQ(notice(Format::sse, reset), "event: reset\ndata: " + notice(Format::json, reset) + "\n");
  EXPECT_EQ(session_line(Format::sse, "WAIT", "broker"), "event: wait\ndata: {\"wait\":\"broker\"}\n\n");
  EXPECT_EQ(session_line(Format::sse, "BYE", "drain"), "event: bye\ndata: {\"bye\":\"drain\"}\n\n");
}

TEST(Notices, AreObjectsWithTheStreamInJson) {
  EXPECT_EQ(notice(Format::json, gap),
            R"({"gap":{"topic":"stock.\"MSFT","stream":"00c0ffee0000002a","first":101,"last":105,)"
            "\"reason\":\"slow_consumer\"}}\n");
  EXPECT_EQ(notice(Format::json, reset),
            "{\"reset\":{\"topic\":\"clock\",\"stream\":\"00c0ffee0000002a\"}}\n");
  EXPECT_EQ(session_line(Format::json, "WAIT", "broker"), "{\"wait\":\"broker\"}\n");
  EXPECT_EQ(session_line(Format::json, "LIVE", "broker"), "{\"live\":\"broker\"}\n");
  EXPECT_EQ(session_line(Format::json, "BYE", "drain"), "{\"bye\":\"drain\"}\n");
  EXPECT_EQ(session_line(Format::json, "KEEPALIVE", "half_closed"), "{\"keepalive\":\"half_closed\"}\n");
}

TEST(Notices, AreFramesWithTheJsonObjectsInWebSocket) {
  EXPECT_EQ(notice(Format::websocket, reset),
            "\x81\x37{\"reset\":{\"topic\":\"clock\",\"stream\":\"00c0ffee0000002a\"}}");
  EXPECT_EQ(session_line(Format::websocket, "WAIT", "broker"), "\x81\x11{\"wait\":\"broker\"}");
  EXPECT_EQ(notice(Format::websocket, gap).substr(0, 4), std::string("\x81\x6c{\"", 4));
}

TEST(Notices, AreMessagesInProto) {
  const v1::ServerMessage parsed_gap = parsed(notice(Format::proto, gap));
  EXPECT_EQ(parsed_gap.gap().topic(), gap.topic);
  EXPECT_EQ(parsed_gap.gap().stream(), gap.stream);
  EXPECT_EQ(parsed_gap.gap().first(), 101u);
  EXPECT_EQ(parsed_gap.gap().last(), 105u);
  EXPECT_EQ(parsed_gap.gap().reason(), "slow_consumer");
  const v1::ServerMessage parsed_reset = parsed(notice(Format::proto, reset));
  EXPECT_EQ(parsed_reset.reset().topic(), "clock");
  EXPECT_EQ(parsed_reset.reset().stream(), reset.stream);
  EXPECT_EQ(parsed(session_line(Format::proto, "WAIT", "broker")).wait().what(), "broker");
  EXPECT_EQ(parsed(session_line(Format::proto, "LIVE", "broker")).live().what(), "broker");
  EXPECT_EQ(parsed(session_line(Format::proto, "BYE", "drain")).bye().reason(), "drain");
  EXPECT_EQ(session_line(Format::proto, "KEEPALIVE", "half_closed"), std::string(1, '\0'))
      << "an empty message";
}

TEST(Replies, AreTheSameLinesInAllFormatsExceptProto) {
  const TopicInfo topic{.name = "stock.MSFT", .offset = 17, .value_bytes = 128, .received_ns = 1'000'000'000};
  for (const Format format : {Format::text, Format::text_offset, Format::json}) {
    EXPECT_EQ(appended([&](auto& out) { append_ok(format, "SUB", "stock.>", out); }), "+OK SUB stock.>\n");
    EXPECT_EQ(appended([&](auto& out) { append_ok(format, "QUIT", "", out); }), "+OK QUIT\n");
    EXPECT_EQ(appended([&](auto& out) { append_error(format, "bad_topic", "it is empty", out); }),
              "-ERR bad_topic it is empty\n");
    EXPECT_EQ(appended([&](auto& out) { append_pong(format, out); }), "+PONG\n");
    EXPECT_EQ(appended([&](auto& out) { append_topic(format, topic, 3'100'000'000, out); }),
              "+TOPIC stock.MSFT 17 128 2.1\n");
    EXPECT_EQ(appended([&](auto& out) { append_topic(format, topic, 0, out); }),
              "+TOPIC stock.MSFT 17 128 0.0\n");
  }
}

TEST(Replies, AreFramesOfTheSameLinesInWebSocket) {
  const Format format = Format::websocket;
  EXPECT_EQ(appended([&](auto& out) { append_ok(format, "SUB", "a", out); }), "\x81\x09+OK SUB a");
  EXPECT_EQ(appended([&](auto& out) { append_error(format, "x", "y", out); }), "\x81\x08-ERR x y");
  EXPECT_EQ(appended([&](auto& out) { append_pong(format, out); }), "\x81\x05+PONG");
  EXPECT_EQ(appended([&](auto& out) { append_lines(format, "a\nb\n", out); }),
            "\x81\x01"
            "a\x81\x01"
            "b");
}

TEST(Replies, AreMessagesInProto) {
  const auto ok = parsed(appended([](auto& out) { append_ok(Format::proto, "SUB", "stock.>", out); })).ok();
  EXPECT_EQ(ok.command(), "SUB");
  EXPECT_EQ(ok.argument(), "stock.>");
  const auto error = parsed(appended([](auto& out) {
                       append_error(Format::proto, "bad_topic", "it is empty", out);
                     })).error();
  EXPECT_EQ(error.code(), "bad_topic");
  EXPECT_EQ(error.text(), "it is empty");
  EXPECT_TRUE(parsed(appended([](auto& out) { append_pong(Format::proto, out); })).has_pong());
  const TopicInfo info{.name = "stock.MSFT", .offset = 17, .value_bytes = 128, .received_ns = 5};
  const auto topic = parsed(appended([&](auto& out) { append_topic(Format::proto, info, 9, out); })).topic();
  EXPECT_EQ(topic.name(), "stock.MSFT");
  EXPECT_EQ(topic.offset(), 17u);
  EXPECT_EQ(topic.value_bytes(), 128u);
  EXPECT_EQ(topic.received_ns(), 5);
}

}  // namespace
}  // namespace backplane::gateway
