#include "gateway/protocols/websocket/session.hpp"

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/protocols/websocket/client_frame.hpp"
#include "tests/gateway/stage.hpp"

namespace backplane::gateway::websocket {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

fanout::ShardOptions small_backlog() {
  fanout::ShardOptions options;
  options.client.backlog_bytes_max = 2000;
  options.idle_timeout = 600s;
  return options;
}

/// Describes a server's frames: `text hello`, `ping `, `pong x`, `close 1000 why`. Each must be complete,
/// unmasked and in the shortest form.
std::vector<std::string> frames(std::string_view bytes) {
  std::vector<std::string> all;
  while (!bytes.empty()) {
    const auto byte = [&](std::size_t at) {
      return static_cast<unsigned>(static_cast<unsigned char>(bytes.at(at)));
    };
    std::size_t size = byte(1);
    std::size_t head = 2;
    if (size == 126) {
      size = byte(2) << 8 | byte(3);
      head = 4;
      EXPECT_GT(size, 125u);
    }
    EXPECT_LE(size, bytes.size() - head) << "half a frame";
    const std::string payload(bytes.substr(head, size));
    switch (byte(0)) {
      case 0x81:
        all.push_back("text " + payload);
        break;
      case 0x89:
        all.push_back("ping " + payload);
        break;
      case 0x8a:
        all.push_back("pong " + payload);
        break;
      case 0x88:
        all.push_back(payload.empty() ? "close"
                                      : "close " + std::to_string(byte(head) << 8 | byte(head + 1)) + " " +
                                            payload.substr(2));
        break;
      default:
        ADD_FAILURE() << "a frame that begins with " << byte(0);
    }
    bytes.remove_prefix(head + size);
  }
  return all;
}

class WebSocketSessionTest : public Stage {
 protected:
  WebSocketSessionTest() : Stage({}, small_backlog()) {
    come_up();
    peer_ = connect();
    fanout::Client& client = *shard_.find(peer_.id);
    WebSocketSession::begin(client, services_, {});
    turn();
  }
  using Stage::send;
  void send(std::string_view bytes) { send(peer_, bytes); }
  std::vector<std::string> take() { return frames(peer_.take()); }
  void subscribe(const std::string& what) {
    send(text("SUB " + what));
    prove();
    take();
  }
  [[nodiscard]] bool ended() const { return peer_.stream->output_ended; }
  [[nodiscard]] bool over() { return shard_.find(peer_.id) == nullptr; }

  Peer peer_;
};

TEST_F(WebSocketSessionTest, SubscribesAndReceivesJsonObjects) {
  send(text("SUB stock.>"));
  EXPECT_THAT(take(), IsEmpty());
  prove();
  publish("stock.MSFT", "39.81");
  EXPECT_THAT(take(), ElementsAre("text +OK SUB stock.>",
                                  AllOf(StartsWith("text {\"topic\":\"stock.MSFT\",\"stream\":"),
                                        ::testing::EndsWith(",\"type\":\"\",\"text\":\"39.81\"}"))));
  send(text("UNSUB stock.>"));
  publish("stock.MSFT", "40");
  EXPECT_THAT(take(), ElementsAre("text +OK UNSUB stock.>"));
}

TEST_F(WebSocketSessionTest, AMessageIsOneLineWithAnOptionalLineEnd) {
  send(text("PING") + text("PING\n") + text("PING\r\n") + text("PING\r"));
  EXPECT_THAT(take(), ElementsAre("text +PONG", "text +PONG", "text +PONG", "text +PONG"));
  send(text("PING\nPING"));
  EXPECT_THAT(take(), ElementsAre(StartsWith("text -ERR bad_byte ")));
}

TEST_F(WebSocketSessionTest, EveryMessageHasAReplyAndAnEmptyOneToo) {
  for (const std::string_view empty : {"", "\n", "\r\n", "   "}) {
    send(text(empty) + text("PING"));
    EXPECT_THAT(take(),
                ElementsAre("text -ERR bad_argument expected a command, got an empty message", "text +PONG"));
  }
}

TEST_F(WebSocketSessionTest, RepliesAreLinesInOneFrameEach) {
  send(text("NONSENSE") + text("POLICY latest") + text("HELP"));
  const std::vector<std::string> all = take();
  ASSERT_GT(all.size(), 10u);
  EXPECT_THAT(all[0], StartsWith("text -ERR unknown_command "));
  EXPECT_EQ(all[1], "text +OK POLICY latest");
  for (std::size_t i = 2; i + 1 < all.size(); ++i) EXPECT_THAT(all[i], StartsWith("text +HELP "));
  EXPECT_EQ(all.back(), "text +OK HELP");
}

TEST_F(WebSocketSessionTest, RepliesToPubWhenTheBrokerHasAdmitted) {
  send(text("PUB news.uk grüße"));
  EXPECT_THAT(take(), IsEmpty());
  EXPECT_EQ(publisher_.last_text, "grüße");
  admit_all();
  EXPECT_THAT(take(), ElementsAre("text +OK PUB news.uk"));
}

TEST_F(WebSocketSessionTest, RefusesOtherFormats) {
  send(text("FORMAT text") + text("PING"));
  EXPECT_THAT(take(), ElementsAre(StartsWith("text -ERR bad_format "), "text +PONG"));
}

TEST_F(WebSocketSessionTest, RepliesToPingsBetweenFragmentsInOrder) {
  send(text("PI", false) + ping("one") + more("N", false) + ping("two") + more("G") + ping());
  EXPECT_THAT(take(), ElementsAre("pong one", "pong two", "text +PONG", "pong "));
}

TEST_F(WebSocketSessionTest, EchoesAClose) {
  subscribe("a");
  send(close(3001, "bye") + text("PING"));
  publish("a");
  EXPECT_THAT(take(), ElementsAre("close 3001 "));
  EXPECT_TRUE(ended());
  EXPECT_FALSE(over());
  end_input(peer_);
  EXPECT_TRUE(over());
}

TEST_F(WebSocketSessionTest, EchoesACloseWithoutACode) {
  send(close());
  EXPECT_THAT(take(), ElementsAre("close"));
  EXPECT_TRUE(ended());
}

TEST_F(WebSocketSessionTest, ClosesWithTheCodeOfTheFault) {
  const std::map<std::string, std::string> wrong{
      {binary("x"), "close 1003 expected text frames, got a binary one"},
      {text("\xff"), "close 1007 expected UTF-8, got other text"},
      {text(std::string(1001, 'x')), "close 1009 expected a message within the limit, got a longer one"},
      {ClientFrame{.opcode = 1, .payload = "x", .masked = false}.bytes(),
       "close 1002 expected a masked frame, got an unmasked one"},
      {close(1005), "close 1002 expected a valid close code, got a reserved one"},
  };
  for (const auto& [bytes, closed] : wrong) {
    Peer peer = connect();
    WebSocketSession::begin(*shard_.find(peer.id), services_, text("PING"));
    send(peer, bytes + text("PING"));
    EXPECT_THAT(frames(peer.take()), ElementsAre("text +PONG", closed));
    EXPECT_TRUE(peer.stream->output_ended);
  }
  const Counted counted = websockets_.read();
  EXPECT_EQ(counted.begun, 1 + wrong.size());
  EXPECT_EQ(counted.against_protocol, 2u);
  EXPECT_EQ(counted.binary, 1u);
  EXPECT_EQ(counted.not_utf8, 1u);
  EXPECT_EQ(counted.too_long, 1u);
}

TEST_F(WebSocketSessionTest, DisconnectsAClientThatDoesNotReplyToAClose) {
  send(binary("x"));
  EXPECT_TRUE(ended());
  EXPECT_FALSE(over());
  now_ += 2s;
  turn();
  EXPECT_TRUE(over());
}

TEST_F(WebSocketSessionTest, DisconnectsAClientThatDoesNotReadTheClose) {
  peer_.stream->room = 0;
  send(close(1000));
  now_ += 2s;
  turn();
  EXPECT_TRUE(over());
}

TEST_F(WebSocketSessionTest, ASocketThatEndsWithoutACloseIsDisconnected) {
  subscribe("a");
  end_input(peer_);
  EXPECT_TRUE(over());
}

TEST_F(WebSocketSessionTest, QuitRepliesToEverythingAndCloses) {
  send(text("PUB a x") + text("QUIT") + text("PING"));
  send(text("PING"));
  EXPECT_THAT(take(), IsEmpty());
  admit_all();
  EXPECT_THAT(take(), ElementsAre("text +OK PUB a", "text +OK QUIT", "close 1000 "));
  EXPECT_TRUE(ended());
}

TEST_F(WebSocketSessionTest, ClosesWithAReason) {
  shard_.say_goodbye("drain");
  turn();
  EXPECT_THAT(take(), ElementsAre("text {\"bye\":\"drain\"}", "close 1001 drain"));
}

TEST_F(WebSocketSessionTest, NoticesAreObjects) {
  subscribe("a");
  publish("a", "x");
  take();
  broker_.lose("a");
  hub_.on_gap({broker_.stream(), "a", 2, 2, GapReason::recovery_timeout});
  publish("a", "x");
  EXPECT_THAT(take(),
              ElementsAre("text {\"gap\":{\"topic\":\"a\",\"stream\":\"0000000100000001\",\"first\":2,"
                          "\"last\":2,\"reason\":\"recovery_timeout\"}}",
                          StartsWith("text {\"topic\":\"a\",")));
  hub_.on_connection(false);
  turn();
  EXPECT_THAT(take(), ElementsAre("text {\"wait\":\"broker\"}"));
}

TEST_F(WebSocketSessionTest, EveryPublishedEventIsReceivedOrAnnouncedAsLost) {
  subscribe("a");
  std::string all;
  for (unsigned i = 0; i < 1000; ++i) {
    publish("a", std::string(i * 31 % 100, 'x'));
    if (i % 7 != 0) continue;
    peer_.stream->room = i * 13 % 700;
    shard_.find(peer_.id)->on_writable();
    turn();
  }
  read_all(peer_);
  const auto number = [](const std::string& object, const std::string& key) {
    const std::size_t at = object.find("\"" + key + "\":");
    EXPECT_NE(at, std::string::npos) << object;
    return std::stoull(object.substr(at + key.size() + 3));
  };
  std::uint64_t last = 0;
  std::uint64_t gaps = 0;
  for (const std::string& each : take()) {
    const bool gap = each.starts_with("text {\"gap\"");
    gaps += gap ? 1 : 0;
    ASSERT_EQ(number(each, gap ? "first" : "offset"), last + 1) << each;
    last = number(each, gap ? "last" : "offset");
  }
  EXPECT_EQ(last, 1000u);
  EXPECT_GT(gaps, 0u);
}

TEST_F(WebSocketSessionTest, PolicyDisconnectClosesASlowClientWithTryLater) {
  send(text("POLICY disconnect"));
  subscribe("a");
  peer_.stream->room = 0;
  for (int i = 0; i < 30; ++i) publish("a", std::string(100, 'x'));
  read_all(peer_);
  const std::vector<std::string> all = take();
  ASSERT_GE(all.size(), 2u);
  EXPECT_EQ(all[all.size() - 2], "text {\"bye\":\"slow_consumer\"}");
  EXPECT_EQ(all.back(), "close 1013 slow_consumer");
}

TEST_F(WebSocketSessionTest, PingsAnIdleClient) {
  const auto pass = [this](std::chrono::seconds time) {
    now_ += time;
    turn();
    return take();
  };
  EXPECT_THAT(pass(20s), IsEmpty());
  send(pong());
  EXPECT_THAT(pass(20s), IsEmpty());
  EXPECT_THAT(pass(20s), ElementsAre("ping "));
  // One unanswered ping is enough: idle_timeout takes care of dead clients.
  EXPECT_THAT(pass(100s), IsEmpty());
  send(pong());
  EXPECT_THAT(pass(61s), ElementsAre("ping "));
  EXPECT_THAT(pass(550s), IsEmpty());
  EXPECT_THAT(pass(60s), ElementsAre("text {\"bye\":\"idle\"}", "close 1001 idle"));
}

TEST_F(WebSocketSessionTest, ReadsTheSameFromPiecesOfAnySize) {
  const std::string all =
      text("PING") + text("SUB stock..MSFT") + ping("x") + text("PI", false) + more("NG") + close();
  send(all);
  const std::vector<std::string> expected = take();
  EXPECT_EQ(expected.size(), 5u);
  for (const std::size_t piece : {1u, 2u, 3u, 7u}) {
    Peer peer = connect();
    WebSocketSession::begin(*shard_.find(peer.id), services_, {});
    peer.stream->read_max = piece;
    send(peer, all);
    EXPECT_EQ(frames(peer.take()), expected);
  }
}

}  // namespace
}  // namespace backplane::gateway::websocket
