#include "cli/connection/gateway_item.hpp"

#include <gmock/gmock.h>

#include "backplane/v1/session.pb.h"
#include "cli/console/event_writer.hpp"

namespace backplane::cli {
namespace {

using Kind = GatewayItem::Kind;
using testing::HasSubstr;

constexpr std::string_view head =
    R"({"topic":"stock.MSFT","stream":"00000000000000ab","position":20,"offset":17,"time":null,)"
    R"("received":"2000-01-01T00:00:00Z","source":"q","sequence":1,"type":"")";

std::string event(std::string_view payload) {
  return std::string(head) + std::string(payload) + "}";
}

/// The event line as `sub --format …` prints it.
std::string as(std::string_view format, const std::string& line) {
  const auto item = parse_gateway_line(line);
  EXPECT_TRUE(item.has_value()) << line;
  std::string out;
  if (item) append_gateway_item(parse_output_format(format).value(), *item, line, out);
  return out;
}

TEST(GatewayItem, AnEventHasThePositionToResumeAt) {
  const auto item = parse_gateway_line(event(R"(,"text":"x")")).value();
  EXPECT_EQ(item.kind, Kind::event);
  EXPECT_EQ(item.topic, "stock.MSFT");
  EXPECT_EQ(item.stream, 0xabu);
  EXPECT_EQ(item.position, 20u);
  EXPECT_EQ(item.offset, 17u);
}

TEST(GatewayItem, AnEventIsPrintedAsTheGatewayPrintsIt) {
  const std::string typed = event(R"(,"data":{"symbol":"MSFT","price":39.81,"n":1e3})");
  EXPECT_EQ(as("text", typed), "stock.MSFT {\"symbol\":\"MSFT\",\"price\":39.81,\"n\":1e3}\n");
  EXPECT_EQ(as("text+offset", typed), "stock.MSFT 17 {\"symbol\":\"MSFT\",\"price\":39.81,\"n\":1e3}\n");
  EXPECT_EQ(as("value", typed), "{\"symbol\":\"MSFT\",\"price\":39.81,\"n\":1e3}\n");
  EXPECT_EQ(as("json", typed), typed + "\n");
  EXPECT_EQ(as("text", event(R"(,"text":"a\n\"b\" é \\")")), "stock.MSFT a\\n\"b\" é \\\\\n");
  EXPECT_EQ(as("text", event(R"(,"base64":"/wA=")")), "stock.MSFT /wA=\n");
  EXPECT_EQ(as("text", event("")), "stock.MSFT \n");
}

TEST(GatewayItem, TextThatLooksLikeAPayloadStaysText) {
  EXPECT_EQ(as("text", event(R"(,"text":"{\"gap\":1},\"data\":{}")")),
            "stock.MSFT {\"gap\":1},\"data\":{}\n");
}

TEST(GatewayItem, ADeeplyNestedPayloadIsNotParsed) {
  const std::string deep = std::string(500, '[') + std::string(500, ']');
  EXPECT_EQ(as("value", event(",\"data\":" + deep)), deep + "\n");
}

TEST(GatewayItem, GapsAndResetsAreParsed) {
  const std::string gap =
      R"({"gap":{"topic":"t","stream":"00000000000000ab","first":5,"last":9,"reason":"slow_consumer"}})";
  EXPECT_EQ(parse_gateway_line(gap).value().kind, Kind::gap);
  EXPECT_EQ(as("text", gap), "!GAP t 5 9 slow_consumer\n");
  EXPECT_EQ(as("json", gap), gap + "\n");
  const std::string reset = R"({"reset":{"topic":"t","stream":"00000000000000ab"}})";
  EXPECT_EQ(parse_gateway_line(reset).value().kind, Kind::reset);
  EXPECT_EQ(as("text", reset), "!RESET t\n");
}

TEST(GatewayItem, RepliesAndNoticesHaveTheirKinds) {
  EXPECT_EQ(parse_gateway_line("+OK SUB stock.>").value().kind, Kind::ok);
  const auto error = parse_gateway_line("-ERR bad_topic a token is empty").value();
  EXPECT_EQ(error.kind, Kind::error);
  EXPECT_EQ(error.text, "bad_topic a token is empty");
  EXPECT_EQ(parse_gateway_line(R"({"wait":"broker"})").value().kind, Kind::wait);
  EXPECT_EQ(parse_gateway_line("!LIVE broker").value().kind, Kind::live);
  EXPECT_EQ(parse_gateway_line(R"({"bye":"drain"})").value().text, "drain");
  EXPECT_EQ(parse_gateway_line("+PONG").value().kind, Kind::other);
}

TEST(GatewayItem, AnUnexpectedLineIsAnError) {
  for (const char* line :
       {"", "HTTP/1.1 400 Bad Request", "{", "{}", "{\"topic\":1}", "[]", "\xff\xfe", "{\"gap\":1}",
        "{\"gap\":{\"topic\":\"t\"}}", "{\"reset\":{\"topic\":\"t\",\"stream\":\"xyz\"}}",
        "{\"topic\":\"t\",\"stream\":\"0\",\"position\":-1,\"offset\":1}", "{\"data\":}"}) {
    const auto item = parse_gateway_line(line);
    ASSERT_FALSE(item.has_value()) << line;
    EXPECT_THAT(item.error().text, HasSubstr("expected a gateway's message"));
  }
}

TEST(GatewayItem, ProtoMessagesAreParsed) {
  v1::ServerMessage message;
  message.mutable_delivery()->set_topic("t");
  message.mutable_delivery()->mutable_event()->mutable_stamp()->set_position(9);
  const std::string bytes = message.SerializeAsString();
  const auto item = parse_gateway_message(bytes).value();
  EXPECT_EQ(item.kind, Kind::event);
  EXPECT_EQ(item.position, 9u);
  std::string out;
  append_gateway_item(parse_output_format("proto").value(), item, bytes, out);
  EXPECT_EQ(out, std::string(1, static_cast<char>(bytes.size())) + bytes);
  message.mutable_bye()->set_reason("drain");
  EXPECT_EQ(parse_gateway_message(message.SerializeAsString()).value().kind, Kind::bye);
  EXPECT_FALSE(parse_gateway_message("\xff\xff").has_value());
}

}  // namespace
}  // namespace backplane::cli
