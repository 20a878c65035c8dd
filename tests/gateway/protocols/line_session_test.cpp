#include "gateway/protocols/line/line_session.hpp"

#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backplane/v1/session.pb.h"
#include "tests/gateway/accounted_offsets.hpp"
#include "tests/gateway/stage.hpp"

namespace backplane::gateway::line {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

fanout::ShardOptions small_backlog() {
  fanout::ShardOptions options;
  options.client.backlog_bytes_max = 200;
  options.first_byte_timeout = 10s;
  options.idle_timeout = 600s;
  return options;
}

class LineSessionTest : public Stage {
 protected:
  LineSessionTest() : Stage({}, small_backlog()) {
    come_up();
    peer_ = connect();
  }
  using Stage::send;
  void send(std::string_view text) { send(peer_, text); }
  void subscribe(const std::string& what) {
    send("SUB " + what + "\n");
    prove();
    take();
  }
  std::string take() { return peer_.take(); }
  [[nodiscard]] bool over() { return shard_.find(peer_.id) == nullptr; }

  Peer peer_;
};

TEST_F(LineSessionTest, SubscribesAndReceives) {
  send("SUB stock.>\r\n");
  EXPECT_EQ(take(), "");
  prove();
  publish("stock.MSFT", "39.81");
  EXPECT_EQ(take(), "+OK SUB stock.>\nstock.MSFT 39.81\n");
  send("FORMAT text+offset\n");
  publish("stock.MSFT", "40");
  EXPECT_EQ(take(), "+OK FORMAT text+offset\nstock.MSFT 2 40\n");
  send("UNSUB stock.>\n");
  publish("stock.MSFT", "41");
  EXPECT_EQ(take(), "+OK UNSUB stock.>\n");
}

TEST_F(LineSessionTest, ABadCommandDoesNotEndTheSession) {
  send("SUB stock..MSFT\nNONSENSE\nUNSUB a\n" + std::string(5000, 'x') + "\nPING\n");
  const std::string all = take();
  EXPECT_THAT(all, StartsWith("-ERR bad_topic a token is empty: \"stock..MSFT\"\n-ERR unknown_command "));
  EXPECT_THAT(all, EndsWith("-ERR not_subscribed expected a subscribed pattern, got \"a\"\n"
                            "-ERR line_too_long expected at most 1000 bytes, or 2000 for a PUB; "
                            "the rest of the line is skipped\n"
                            "+PONG\n"));
}

TEST_F(LineSessionTest, RepliesInTheOrderOfCommandsExceptToSubAndPub) {
  send("PUB a x\nSUB a\nUNSUB b\nPING\nFORMAT json\nNONSENSE\nPOLICY latest\nPING\n");
  std::istringstream lines(take());
  std::string heads;
  for (std::string word, rest; lines >> word && std::getline(lines, rest);) heads += word + " ";
  EXPECT_EQ(heads, "-ERR +PONG +OK -ERR +OK +PONG ");
  prove();
  admit_all();
  EXPECT_EQ(take(), "+OK SUB a\n+OK PUB a\n");
}

TEST_F(LineSessionTest, RepliesToPubWhenTheBrokerHasAdmitted) {
  send("PUB news.uk one\\ntwo\nPING\n");
  EXPECT_EQ(take(), "+PONG\n");
  EXPECT_EQ(publisher_.last_text, "one\ntwo");
  admit_all();
  EXPECT_EQ(take(), "+OK PUB news.uk\n");
}

TEST_F(LineSessionTest, PausesInputWhileTooManyPubsWaitForTheBroker) {
  std::string many;
  for (int i = 0; i < 10'000; ++i) many += "PUB a x\n";
  send(many);
  const std::uint64_t offered = publisher_.state.offered;
  EXPECT_GT(offered, 1000u);
  EXPECT_LT(offered, 2000u);
  admit_all();
  EXPECT_GT(publisher_.state.offered, offered);
  while (publisher_.state.confirmed < 10'000) admit_all();
}

TEST_F(LineSessionTest, QuitRepliesToEverythingBeforeItEnds) {
  send("SUB clock\nPUB a x\nQUIT\nPING\n");
  send("PING\n");
  EXPECT_EQ(take(), "-ERR cancelled clock: QUIT arrived before the subscription was active\n");
  EXPECT_FALSE(peer_.stream->output_ended);
  admit_all();
  EXPECT_EQ(take(), "+OK PUB a\n+OK QUIT\n");
  EXPECT_TRUE(peer_.stream->output_ended);
}

TEST_F(LineSessionTest, ContinuesAfterTheEndOfInputIfThereAreSubscriptions) {
  send("SUB clock\n");
  end_input(peer_);
  EXPECT_FALSE(over());
  prove();
  publish("clock", "tick");
  EXPECT_EQ(take(), "+OK SUB clock\nclock tick\n");
}

TEST_F(LineSessionTest, EndsAfterTheEndOfInputWithoutSubscriptions) {
  send("PUB a x\nPING");  // without a line end
  end_input(peer_);
  EXPECT_EQ(take(), "+PONG\n");
  EXPECT_FALSE(over());
  admit_all();
  EXPECT_EQ(take(), "+OK PUB a\n");
  EXPECT_TRUE(over());
}

TEST_F(LineSessionTest, EndsAfterTheEndOfInputIfItsOnlySubscriptionIsRefused) {
  send("SUB a last\n");
  prove();
  end_input(peer_);
  EXPECT_FALSE(over());
  hub_.on_retained_end(1, RetainedEnd{{}, Error{ErrorCode::timeout, "no reply"}});
  turn();
  EXPECT_TRUE(over());
}

TEST_F(LineSessionTest, ExecutesNothingAfterAnHttpRequest) {
  send("POST / HTTP/1.1\r\nHost: x\r\n\r\nPUB news.uk forged\n");
  EXPECT_THAT(take(), StartsWith("-ERR not_http "));
  EXPECT_EQ(publisher_.state.offered, 0u);
  EXPECT_TRUE(peer_.stream->output_ended);
}

TEST_F(LineSessionTest, ExecutesNothingAfterAnHttpRequestWithATooLongFirstLine) {
  send("POST /" + std::string(5000, 'x') + " HTTP/1.1\r\nHost: x\r\n\r\nPUB news.uk forged\n");
  EXPECT_THAT(take(), StartsWith("-ERR not_http "));
  EXPECT_EQ(publisher_.state.offered, 0u);
  EXPECT_TRUE(peer_.stream->output_ended);
}

TEST_F(LineSessionTest, AClientThatBeginsTlsIsToldAtOnceThatThereIsNone) {
  send("\x16");
  EXPECT_EQ(take(), "");
  send("\x03\x01\x02");
  EXPECT_EQ(take(), "-ERR no_tls this port does not use TLS: connect without it\n!BYE no_tls\n");
  EXPECT_TRUE(peer_.stream->output_ended);
}

TEST_F(LineSessionTest, DetectsTheProtocolFromPiecesOfAnySize) {
  const std::string commands = "PING\nSUB stock..MSFT\nPING\n";
  send(commands);
  const std::string all = take();
  for (const std::size_t piece : {1u, 3u, 5u}) {
    Peer peer = connect();
    peer.stream->read_max = piece;
    send(peer, commands);
    EXPECT_EQ(peer.take(), all);
  }
}

TEST_F(LineSessionTest, DisconnectsSilentClientsExceptSubscribers) {
  Peer listener = connect();
  send(listener, "SUB a\n");
  now_ += 11s;
  turn();
  EXPECT_EQ(take(), "!BYE silent\n");
  EXPECT_EQ(listener.take(), "");
}

TEST_F(LineSessionTest, AClientThatHasPublishedIsKeptAlthoughItIsIdle) {
  Peer idle = connect();
  send(idle, "PING\n");
  send("PUB a x\n");
  admit_all();
  Peer both = connect();
  send(both, "PUB a x\nSUB a\n");
  prove();
  send(both, "UNSUB a\n");
  take();
  now_ += 24h;
  turn();
  EXPECT_THAT(idle.take(), EndsWith("!BYE idle\n"));
  EXPECT_THAT(both.take(), EndsWith("+OK UNSUB a\n"));
  send("PUB a y\n");
  admit_all();
  EXPECT_EQ(take(), "+OK PUB a\n");
  EXPECT_EQ(publisher_.last_text, "y");
}

TEST_F(LineSessionTest, AHalfClosedClientIsCheckedWhileItIsQuiet) {
  subscribe("a");
  end_input(peer_);
  now_ += 4900ms;
  turn();
  EXPECT_EQ(take(), "");
  now_ += 150ms;
  turn();
  EXPECT_EQ(take(), "!KEEPALIVE half_closed\n");
  now_ += 12s;
  publish("a", "x");
  EXPECT_EQ(take(), "a x\n");
  now_ += 4s;
  turn();
  EXPECT_EQ(take(), "") << "the event was a check";
  now_ += 15s;
  turn();
  EXPECT_EQ(take(), "!KEEPALIVE half_closed\n");
  EXPECT_EQ(hub_.counters().subscriptions, 1u);
  peer_.stream->error = EPIPE;  // it had closed both sides
  now_ += 16s;
  turn();
  EXPECT_TRUE(over());
  EXPECT_EQ(hub_.counters().subscriptions, 0u);
}

TEST_F(LineSessionTest, AnOpenClientIsNotChecked) {
  subscribe("a");
  now_ += 1h;
  turn();
  EXPECT_EQ(take(), "");
}

TEST_F(LineSessionTest, ReportsTheEventsThatASlowClientLost) {
  subscribe(">");
  peer_.stream->room = 0;
  for (int i = 1; i <= 20; ++i) {
    publish("a", std::string(16, 'x'));
    publish("b", std::string(6, 'y'));
  }
  read_all(peer_);
  std::map<std::string, std::uint64_t> seen;
  std::istringstream lines(take());
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string topic;
    std::uint64_t first = 1;
    std::uint64_t last = 1;
    words >> topic;
    if (topic == "!GAP") {
      words >> topic >> first >> last;
      EXPECT_TRUE(line.ends_with(" slow_consumer")) << line;
    }
    seen[topic] += last - first + 1;
  }
  EXPECT_EQ(seen["a"], 20u);
  EXPECT_EQ(seen["b"], 20u);
}

TEST_F(LineSessionTest, EveryPublishedEventIsReceivedOrAnnouncedAsLost) {
  send("FORMAT text+offset\n");
  subscribe(">");
  std::map<std::string, std::uint64_t> published;
  for (unsigned i = 0; i < 5000; ++i) {
    const std::string topic = "t" + std::to_string(i * i % 7);
    ++published[topic];
    publish(topic, std::string(i * 31 % 50, 'x'));
    if (i % 7 == 0) {
      peer_.stream->room = i * 13 % 150;
      shard_.find(peer_.id)->on_writable();
      turn();
    }
  }
  read_all(peer_);
  EXPECT_EQ(accounted_offsets(take()), published);
  EXPECT_GT(shard_.ledger().dropped, 0u);
  EXPECT_GT(shard_.ledger().delivered, 0u);
}

TEST_F(LineSessionTest, PolicyDisconnectEndsASlowSession) {
  send("POLICY disconnect\n");
  subscribe("a");
  peer_.stream->room = 0;
  for (int i = 0; i < 30; ++i) publish("a", "0123456789");
  read_all(peer_);
  EXPECT_THAT(take(), EndsWith("slow_consumer\n!BYE slow_consumer\n"));
}

TEST_F(LineSessionTest, PolicyLatestKeepsTheNewestEventOfEachTopicWithoutNotices) {
  send("FORMAT text+offset\n");
  subscribe("> policy=latest");
  peer_.stream->room = 0;
  for (int i = 0; i < 30; ++i) {
    publish("a", "0123456789");
    publish("b", "0123456789");
  }
  read_all(peer_);
  const std::string all = take();
  EXPECT_EQ(all.find('!'), std::string::npos) << all;
  EXPECT_THAT(all, EndsWith("a 30 0123456789\nb 30 0123456789\n"));
  EXPECT_GT(shard_.ledger().conflated, 0u);
}

TEST_F(LineSessionTest, NoticesAreJsonIfEventsAre) {
  send("FORMAT json\n");
  subscribe("a");
  publish("a", "x");
  take();
  broker_.lose("a");
  hub_.on_gap({broker_.stream(), "a", 2, 2, GapReason::recovery_timeout});
  publish("a", "x");
  EXPECT_THAT(take(),
              StartsWith("{\"gap\":{\"topic\":\"a\",\"stream\":\"0000000100000001\",\"first\":2,\"last\":2,"
                         "\"reason\":\"recovery_timeout\"}}\n{\"topic\":\"a\","));
  hub_.on_connection(false);
  turn();
  EXPECT_EQ(take(), "{\"wait\":\"broker\"}\n");
  shard_.say_goodbye("drain");
  turn();
  EXPECT_EQ(take(), "{\"bye\":\"drain\"}\n");
}

TEST_F(LineSessionTest, RepliesToLinesThatEndInCr) {
  send("PING\r");
  EXPECT_EQ(take(), "+PONG\n");
  send("sub a\r");
  prove();
  publish("a", "x");
  EXPECT_EQ(take(), "+OK SUB a\na x\n");
  send(std::string("\0PUB a y\r\0", 10));
  EXPECT_EQ(publisher_.last_text, "y");
  admit_all();
  EXPECT_EQ(take(), "+OK PUB a\n");
  send("pub a half");
  end_input(peer_);
  EXPECT_THAT(take(), StartsWith("-ERR half_line "));
}

TEST_F(LineSessionTest, AnswersTelnetNegotiationBeforeTheFirstLine) {
  send("\xff\xfb\x1f\xff\xfd\x03");
  EXPECT_EQ(take(), "\xff\xfe\x1f\xff\xfc\x03");
  send("PI\xff\xf1NG\r\n\xff\xfd\x06");
  EXPECT_EQ(take(), "+PONG\n\xff\xfc\x06");
}

TEST_F(LineSessionTest, AnHttpRequestWithABareCrIsNotACommand) {
  send("GET / HTTP/1.1\rPUB a forged\r\n");
  EXPECT_THAT(take(), StartsWith("-ERR not_http "));
  EXPECT_EQ(publisher_.state.offered, 0u);
}

TEST_F(LineSessionTest, AnHttpRequestAfterOtherLinesEndsTheSession) {
  send("PROXY TCP4 10.0.0.1 10.0.0.2 1 1601\r\nPOST / HTTP/1.1\r\nHost: x\r\n\r\nPUB a forged\r\n");
  EXPECT_THAT(take(), EndsWith("!BYE not_http\n"));
  EXPECT_EQ(publisher_.state.offered, 0u);
  EXPECT_TRUE(peer_.stream->output_ended);
  Peer honest = connect();
  send(honest, "PING\nPUB log GET / HTTP/1.1\n");
  EXPECT_EQ(publisher_.last_text, "GET / HTTP/1.1");
}

TEST_F(LineSessionTest, EmptyLinesBeforeTheFirstOneDecideNothing) {
  send("\r");
  send(std::string("\0\r\n\n", 4));
  send("GET / HTTP/1.1\r\n");
  EXPECT_THAT(take(), StartsWith("-ERR not_http "));
  Peer other = connect();
  send(other, std::string("\r\0PING\r\0", 8));
  EXPECT_EQ(other.take(), "+PONG\n");
}

TEST_F(LineSessionTest, MessagesBeginAfterTheLfOfFormatProtoEvenIfItComesLater) {
  v1::ClientMessage ping;
  ping.mutable_ping();
  send("FORMAT proto\r");
  send("\n");
  send(std::string(1, static_cast<char>(ping.ByteSizeLong())) + ping.SerializeAsString());
  const std::string all = take();
  ASSERT_THAT(all, StartsWith("+OK FORMAT proto\n"));
  EXPECT_THAT(all, ::testing::Not(HasSubstr("malformed")));
  EXPECT_EQ(all.size(), std::string("+OK FORMAT proto\n").size() + 3) << "one pong";
}

/// A message after its length.
std::string framed(const v1::ClientMessage& message) {
  return std::string(1, static_cast<char>(message.ByteSizeLong())) + message.SerializeAsString();
}

TEST_F(LineSessionTest, ReadsAndWritesMessagesAfterFormatProto) {
  v1::ClientMessage subscribe_a;
  subscribe_a.mutable_subscribe()->set_pattern("a");
  v1::ClientMessage ping;
  ping.mutable_ping();
  v1::ClientMessage quit;
  quit.mutable_quit();
  // All at once: messages follow the line, whenever its reply comes.
  send("FORMAT proto\n" + framed(subscribe_a) + framed(ping));
  prove();
  publish("a", "x");
  send(framed(quit));
  std::string all = take();
  const std::string answer = "+OK FORMAT proto\n";
  ASSERT_TRUE(all.starts_with(answer)) << all;
  std::string_view rest = std::string_view(all).substr(answer.size());
  std::vector<v1::ServerMessage> messages;
  while (!rest.empty()) {
    const auto size = static_cast<std::size_t>(static_cast<unsigned char>(rest[0]));
    ASSERT_LT(size, 128u);
    v1::ServerMessage message;
    ASSERT_TRUE(message.ParseFromArray(rest.data() + 1, static_cast<int>(size)));
    messages.push_back(message);
    rest.remove_prefix(1 + size);
  }
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_TRUE(messages[0].has_pong());
  EXPECT_EQ(messages[1].ok().argument(), "a");
  EXPECT_EQ(messages[2].delivery().topic(), "a");
  EXPECT_EQ(messages[2].delivery().event().text(), "x");
  EXPECT_EQ(messages[2].delivery().event().stamp().offset(), 1u);
  EXPECT_EQ(messages[3].ok().command(), "QUIT");
}

TEST_F(LineSessionTest, DisconnectsAfterAMalformedMessageStream) {
  send("FORMAT proto\n" + std::string(20, '\xff'));
  EXPECT_THAT(take(), HasSubstr("malformed"));
  EXPECT_TRUE(peer_.stream->output_ended);
}

TEST_F(LineSessionTest, CountsRefusalsAndDisconnectionsByReason) {
  const auto refusals = [&](std::string_view code) {
    const auto found = std::find(refusal_codes.begin(), refusal_codes.end(), code);
    return sessions_.read().refusals.at(static_cast<std::size_t>(found - refusal_codes.begin()));
  };
  const auto goodbyes = [&](std::string_view reason) {
    const auto found = std::find(goodbye_reasons.begin(), goodbye_reasons.end(), reason);
    return sessions_.read().goodbyes.at(static_cast<std::size_t>(found - goodbye_reasons.begin()));
  };
  send(std::string(1500, 'x') + "\nFROBNICATE\nSUB a..b\n");
  EXPECT_EQ(refusals("line_too_long"), 1u);
  EXPECT_EQ(refusals("other"), 2u);
  EXPECT_EQ(refusals("unavailable"), 0u);
  Peer rubbish = connect();
  send(rubbish, "FORMAT proto\n" + std::string(20, '\xff'));
  EXPECT_EQ(goodbyes("malformed"), 1u);
  Peer browser = connect();
  send(browser, "GET / HTTP/1.1\r\n\r\n");  // there is no site
  EXPECT_EQ(goodbyes("not_http"), 1u);
  Peer slow = connect();
  send(slow, "SUB a policy=disconnect\n");
  prove();
  slow.stream->room = 0;
  for (int i = 0; i < 50; ++i) publish("a", "0123456789");
  EXPECT_EQ(goodbyes("slow_consumer"), 1u);
  shard_.say_goodbye("drain");
  shard_.say_goodbye("drain");
  EXPECT_EQ(goodbyes("drain"), 1u) << "once per client, except clients that are being disconnected already";
  EXPECT_EQ(goodbyes("other"), 0u);
}

TEST_F(LineSessionTest, HelpEndsWithOk) {
  send("HELP\n");
  const std::string help = take();
  EXPECT_THAT(help, HasSubstr("SUB stock.>"));
  EXPECT_THAT(help, EndsWith("\n+OK HELP\n"));
}

TEST_F(LineSessionTest, SurvivesAnyBytesInAnyPieces) {
  unsigned state = 1;
  for (int i = 0; i < 20'000; ++i) {
    state = state * 1'664'525u + 1'013'904'223u;
    const std::string words[] = {"SUB ", "PUB a ", "UNSUB ", "FORMAT ",
                                 ">",    "a.*",    "\n",     "\r\n",
                                 " ",    "last",   "\\x0",   std::string(1, static_cast<char>(state >> 24)),
                                 "json", "text",   "HELP",   "\xff\xfe"};
    send(words[state >> 8 & 15]);
    if (i % 100 == 0) {
      prove();
      admit_all();
    }
  }
  send("\nPING\n");
  admit_all();
  EXPECT_THAT(take(), HasSubstr("+PONG\n"));
}

}  // namespace
}  // namespace backplane::gateway::line
