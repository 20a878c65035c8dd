#include "gateway/protocols/websocket/handshake.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::gateway::websocket {
namespace {

using ::testing::StartsWith;
using Fields = std::vector<std::pair<std::string_view, std::string_view>>;

// The example of RFC 6455 1.3, without its subprotocols.
const Fields good{{"Host", "server.example.com"},        {"Upgrade", "websocket"},
                  {"Connection", "keep-alive, Upgrade"}, {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                  {"Origin", "http://example.com"},      {"Sec-WebSocket-Extensions", "permessage-deflate"},
                  {"Sec-WebSocket-Version", "13"}};

UpgradeRequest request(const Fields& fields) {
  return {.method = "GET", .version = 11, .fields = fields};
}

unsigned refusal(const UpgradeRequest& request) {
  const auto answer = answer_upgrade(request);
  if (answer) return 101;
  EXPECT_THAT(answer.error().text, StartsWith("expected "));
  return answer.error().status;
}

/// With another value in one field, or without the field if `value` is empty.
Fields with(std::string_view name, std::string_view value) {
  Fields fields = good;
  const auto found =
      std::find_if(fields.begin(), fields.end(), [&](const auto& each) { return each.first == name; });
  if (value.empty()) {
    fields.erase(found);
  } else {
    found->second = value;
  }
  return fields;
}

TEST(WebSocketHandshake, AcceptsTheExampleOfTheStandard) {
  const auto answer = answer_upgrade(request(good));
  ASSERT_TRUE(answer) << answer.error().text;
  EXPECT_EQ(*answer,
            "HTTP/1.1 101 Switching Protocols\r\n"
            "Upgrade: websocket\r\n"
            "Connection: upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            "Server: backplane\r\n"
            "\r\n")
      << "with neither a subprotocol nor an extension";
}

TEST(WebSocketHandshake, AcceptsFieldsInAnyCase) {
  Fields fields = with("Connection", "UPGRADE");
  for (auto& [name, value] : fields) {
    if (name == "Upgrade") value = "WebSocket";
    if (name == "Sec-WebSocket-Key") name = "sec-websocket-key";
  }
  EXPECT_EQ(refusal(request(fields)), 101u);
}

TEST(WebSocketHandshake, SendsNothingBefore101) {
  Fields fields = good;
  fields.emplace_back("expect", "100-continue");
  const auto answer = answer_upgrade(request(fields));
  ASSERT_TRUE(answer);
  EXPECT_THAT(*answer, StartsWith("HTTP/1.1 101 "));
}

TEST(WebSocketHandshake, RequiresVersion13) {
  EXPECT_EQ(refusal(request(with("Sec-WebSocket-Version", "8"))), 426u);
  EXPECT_EQ(refusal(request(with("Sec-WebSocket-Version", ""))), 426u);
}

TEST(WebSocketHandshake, AnswersARequestWithoutUpgradeWith426) {
  EXPECT_EQ(refusal(request(with("Upgrade", ""))), 426u);
  EXPECT_EQ(refusal(request(with("Upgrade", "h2c"))), 426u);
  EXPECT_EQ(refusal(request(with("Connection", ""))), 426u);
  EXPECT_EQ(refusal(request(with("Connection", "keep-alive"))), 426u);
}

TEST(WebSocketHandshake, RefusesARequestThatIsNoHandshakeWith400) {
  for (const std::string_view key : {"", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZ?==",
                                     "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ=="}) {
    EXPECT_EQ(refusal(request(with("Sec-WebSocket-Key", key))), 400u) << key;
  }
  EXPECT_EQ(refusal(request(with("Host", ""))), 400u);
  UpgradeRequest post = request(good);
  post.method = "POST";
  EXPECT_EQ(refusal(post), 400u);
  UpgradeRequest old = request(good);
  old.version = 10;
  EXPECT_EQ(refusal(old), 400u);
}

TEST(WebSocketHandshake, RefusesAKeyOrVersionThatIsGivenTwice) {
  // Two readers might use different ones.
  const auto twice = [](std::string_view name, std::string_view value) {
    Fields fields = good;
    fields.emplace_back(name, value);
    return refusal(request(fields));
  };
  EXPECT_EQ(twice("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="), 400u);
  EXPECT_EQ(twice("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), 400u) << "the same one too";
  EXPECT_EQ(twice("Sec-WebSocket-Version", "8"), 400u);
}

TEST(WebSocketHandshake, AListMayBeInSeveralFields) {
  Fields fields = with("Connection", "keep-alive");
  fields.emplace_back("connection", "upgrade");
  for (auto& [name, value] : fields) {
    if (name == "Upgrade") value = "h2c";
  }
  fields.emplace_back("upgrade", "websocket");
  fields.emplace_back("Sec-WebSocket-Extensions", "x-test");
  EXPECT_EQ(refusal(request(fields)), 101u);
}

TEST(WebSocketHandshake, RefusesSubprotocolsWith400) {
  for (const std::string_view offered : {"mqtt", "chat, superchat"}) {
    Fields fields = good;
    fields.emplace_back("Sec-WebSocket-Protocol", offered);
    EXPECT_EQ(refusal(request(fields)), 400u) << offered;
  }
  Fields fields = good;
  fields.emplace_back("Sec-WebSocket-Protocol", "");
  fields.emplace_back("Sec-WebSocket-Protocol", "mqtt");
  EXPECT_EQ(refusal(request(fields)), 400u);
}

}  // namespace
}  // namespace backplane::gateway::websocket
