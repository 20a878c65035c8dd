// A gateway with a policy: two users with disjoint topics, and clients without credentials.

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backplane/v1/session.pb.h"
#include "tests/gateway/access/policies.hpp"
#include "tests/gateway/protocols/http/http_stage.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string roles =
    "[roles.a]\npublish = [\"a.>\"]\nsubscribe = [\"a.>\"]\n"
    "[roles.b]\npublish = [\"b.>\"]\nsubscribe = [\"b.>\"]\n"
    "[roles.open]\nsubscribe = [\"open\"]\n"
    "[roles.admin]\nadmin = true\n";

std::string text(const std::string& anna = "\"a\"", const std::string& bert = "\"b\"") {
  return user_text("anna", "a1", anna) + user_text("bert", "b1", bert) +
         user_text("root", "r1", "\"admin\"") + "[users.anonymous]\nroles = [\"open\"]\n" + roles;
}

class HubAccessTest : public http::HttpStage {
 protected:
  HubAccessTest() {
    hub_.remove(peer_.id);
    hub_.use_policy(policy_of(text()), {authenticator_, requests_, access_});
    services_.access = &access_;
    come_up();
    peer_ = connect();
  }

  /// Sends, and waits for the verdict about its token.
  void send_token(Peer& peer, const std::string& bytes) {
    const auto before = decided();
    send(peer, bytes);
    const auto limit = std::chrono::steady_clock::now() + 60s;
    while (decided() == before && std::chrono::steady_clock::now() < limit) {
      if (!requests_.empty()) turn();
    }
    EXPECT_GT(decided(), before);
    prove();
  }
  void send_token(const std::string& bytes) { send_token(peer_, bytes); }
  std::uint64_t decided() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t each : access_.read().authentications) sum += each;
    return sum;
  }
  Peer user(const std::string& token, const std::string& subscribe = "") {
    Peer peer = connect();
    send_token(peer, "AUTH " + token + "\nFORMAT text+offset\n" + subscribe);
    peer.take();
    return peer;
  }
  std::uint64_t refused(Action action) const {
    return access_.read().not_permitted[static_cast<std::size_t>(action)];
  }
  void change(const std::string& policy) {
    const auto parsed = policy_of(policy);
    authenticator_.set_policy(parsed);
    hub_.change_policy(parsed);
    turn();
    prove();
  }
  static std::string bearer(const std::string& token) { return "Authorization: Bearer " + token + "\r\n"; }

  AccessCounters access_;
  Authenticator authenticator_{policy_of(text()), {}, is_secret_of};
};

// ---- the line protocol ----

TEST_F(HubAccessTest, AClientWithoutCredentialsIsAnonymous) {
  send("SUB a.x\nSUB >\nSUB *.x last\nPUB a.x hello\nTOPICS a.>\nTOPICS\n");
  EXPECT_EQ(
      take(),
      "-ERR not_authenticated a.x: clients without credentials may not subscribe to a.x: send a token first\n"
      "-ERR not_authenticated *.x: clients without credentials may not subscribe to *.x: send a token first\n"
      "-ERR not_authenticated clients without credentials may not list a.>: send a token first\n");
  prove();
  EXPECT_EQ(
      take(),
      "+OK SUB >\n"
      "-ERR not_authenticated a.x: clients without credentials may not publish to a.x: send a token first\n");
  EXPECT_EQ(upstream_.topics_asked.size(), 1u);
  publish("a.x");
  publish("open", "all");
  EXPECT_EQ(take(), "open all\n");
  upstream_.topics_handler(TopicsPage{1, 1, {{.name = "a.x"}, {.name = "open"}}, {}});
  turn();
  EXPECT_THAT(take(), AllOf(StartsWith("+TOPIC open "), EndsWith("+OK TOPICS 1\n")));
  EXPECT_EQ(publisher_.state.offered, 0u);
}

TEST_F(HubAccessTest, CommandsAfterAuthWaitForItsVerdict) {
  send_token("AUTH anna:a1\nSUB a.>\nPUB b.x no\nPING\n");
  EXPECT_EQ(take(),
            "+OK AUTH anna\n+PONG\n+OK SUB a.>\n"
            "-ERR not_permitted b.x: user anna may not publish to b.x\n");
  publish("a.x", "seen");
  EXPECT_EQ(take(), "a.x seen\n");
}

TEST_F(HubAccessTest, WhatFollowsAuthStaysInTheSocketUntilItsVerdict) {
  std::string commands = "AUTH anna:a1\n";
  for (int i = 0; i < 20'000; ++i) commands += "SUB a." + std::to_string(i % 100) + "\n";
  peer_.stream->input = commands;
  shard_.find(peer_.id)->on_readable();
  // Other limits would stop it after a thousand subscriptions.
  constexpr std::size_t one_read = 4096;
  EXPECT_GE(peer_.stream->input.size(), commands.size() - one_read);
  send_token("");
  for (int round = 0; !peer_.stream->input.empty() && round < 100; ++round) prove();
  prove();
  const std::string replies = take();
  EXPECT_THAT(replies, StartsWith("+OK AUTH anna\n+OK SUB a."));
  EXPECT_EQ(std::count(replies.begin(), replies.end(), '\n'), 20'001);
}

TEST_F(HubAccessTest, AWrongTokenChangesNothing) {
  send_token("AUTH anna:b1\nSUB a.x\n");
  EXPECT_EQ(take(),
            "-ERR not_authenticated no user has this token\n"
            "-ERR not_authenticated a.x: clients without credentials may not subscribe to a.x: send a token "
            "first\n");
  send_token("AUTH anna:a1\n");
  send_token("AUTH anna:b1\nSUB a.x\n");
  EXPECT_EQ(take(), "+OK AUTH anna\n-ERR not_authenticated no user has this token\n+OK SUB a.x\n");
}

TEST_F(HubAccessTest, AuthWithoutATokenIsABadCommandThatDoesNotShowIt) {
  send("AUTH\nAUTH anna:a1 hidden\nAUTH \x01\n");
  EXPECT_THAT(take(), AllOf(StartsWith("-ERR bad_argument "), Not(HasSubstr("hidden"))));
  EXPECT_EQ(decided(), 0u);
}

TEST_F(HubAccessTest, AWildcardShowsWhatIsPermittedAndHidesTheRest) {
  Peer anna = user("anna:a1", "SUB >\n");
  Peer bert = user("bert:b1", "SUB >\n");
  Peer bert_too = user("bert:b1", "SUB b.>\n");
  publish("a.x", "for anna");
  publish("b.x", "for bert");
  publish("$SYS.broker.x");
  publish("open");
  EXPECT_EQ(anna.take(), "a.x 1 for anna\n");
  EXPECT_EQ(bert.take(), "b.x 1 for bert\n");
  EXPECT_EQ(bert_too.take(), "b.x 1 for bert\n");
}

TEST_F(HubAccessTest, GapsAndResetsOfHiddenTopicsAreNotAnnounced) {
  Peer anna = user("anna:a1", "SUB > every=1s\nSUB *.x\n");
  Peer bert = user("bert:b1", "SUB >\n");
  publish("a.x");
  publish("b.x");
  anna.take();
  bert.take();
  hub_.on_gap({broker_.stream(), "a.x", 2, 5, GapReason::history_gone, 9});
  hub_.on_gap({broker_.stream(), "b.x", 2, 7, GapReason::history_gone, 10});
  turn();
  EXPECT_EQ(anna.take(), "!GAP a.x 2 5 history_gone\n");
  EXPECT_EQ(bert.take(), "!GAP b.x 2 7 history_gone\n");
  // A subscription that begins after the place of the gap: announced one by one.
  publish("a.x");
  publish("b.x");
  Peer late = user("anna:a1", "SUB >\n");
  anna.take();
  bert.take();
  hub_.on_gap({broker_.stream(), "b.x", 8, 8, GapReason::history_gone, 1});
  turn();
  EXPECT_EQ(anna.take() + late.take(), "");
  EXPECT_EQ(bert.take(), "!GAP b.x 8 8 history_gone\n");
  hub_.on_reset({broker_.stream(), 0x1'00000002});
  turn();
  EXPECT_EQ(anna.take(), "!RESET a.x\n");
  EXPECT_EQ(bert.take(), "!RESET b.x\n");
}

TEST_F(HubAccessTest, RetainedValuesOfHiddenTopicsAreNotSent) {
  Peer anna = connect();
  send_token(anna, "AUTH anna:a1\nSUB > last\n");
  Peer bert = connect();
  send_token(bert, "AUTH bert:b1\nSUB > last\n");
  ASSERT_EQ(upstream_.asked.size(), 1u) << "one request serves both";
  retained(upstream_.requests, broker_.publish("a.x", "1"));
  retained(upstream_.requests, broker_.publish("b.x", "2"));
  retained_end(upstream_.requests);
  EXPECT_EQ(anna.take(), "+OK AUTH anna\n+OK SUB >\na.x 1\n");
  EXPECT_EQ(bert.take(), "+OK AUTH bert\n+OK SUB >\nb.x 2\n");
  publish("a.x", "3");
  publish("b.x", "4");
  EXPECT_EQ(anna.take() + bert.take(), "a.x 3\nb.x 4\n");
}

TEST_F(HubAccessTest, HistoryOfHiddenTopicsIsNotSent) {
  Peer anna = connect();
  send_token(anna, "AUTH anna:a1\nSUB > since=1h\n");
  const std::uint64_t request = upstream_.requests;
  hub_.on_replayed(request, broker_.publish("a.x", "1").delivery());
  hub_.on_replayed(request, broker_.publish("b.x", "2").delivery());
  hub_.on_replayed_gap(request, {broker_.stream(), "b.x", 2, 9, GapReason::damaged, 3});
  hub_.on_replayed_gap(request, {broker_.stream(), "a.x", 2, 3, GapReason::damaged, 4});
  ReplaySlice slice;
  slice.complete = true;
  slice.through = {{broker_.stream(), 4}};
  hub_.on_replay_slice(request, slice);
  turn();
  EXPECT_EQ(anna.take(), "+OK AUTH anna\n+OK SUB >\na.x 1\n!GAP a.x 2 3 damaged\n");
}

TEST_F(HubAccessTest, TopicsListsAndCountsWhatIsPermitted) {
  send_token("AUTH bert:b1\nTOPICS\n");
  EXPECT_EQ(take(), "+OK AUTH bert\n");
  upstream_.topics_handler(TopicsPage{1, 1, {{.name = "a.x"}, {.name = "b.x"}, {.name = "b.y"}}, {}});
  turn();
  EXPECT_THAT(take(), AllOf(Not(HasSubstr("a.x")), HasSubstr("+TOPIC b.x "), EndsWith("+OK TOPICS 2\n")));
  send("TOPICS a.x\n");
  EXPECT_EQ(take(), "-ERR not_permitted user bert may not list a.x\n");
}

TEST_F(HubAccessTest, CountsEveryDecision) {
  send_token("AUTH anna:a1\nSUB a.x\nSUB b.x\nPUB a.x 1\nPUB b.x 1\nTOPICS b.>\n");
  const AccessCounted counted = access_.read();
  EXPECT_THAT(counted.permitted, ::testing::ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(counted.not_permitted, ::testing::ElementsAre(1, 1, 1, 0));
  EXPECT_THAT(counted.authentications, ::testing::ElementsAre(1, 0, 0, 0));
}

TEST_F(HubAccessTest, TheFormatProtoHasTheSameCommand) {
  send("FORMAT proto\n");
  take();
  v1::ClientMessage authenticate;
  authenticate.mutable_authenticate()->set_token("anna:a1");
  const std::string bytes = authenticate.SerializeAsString();
  send_token(std::string(1, static_cast<char>(bytes.size())) + bytes);
  v1::ServerMessage reply;
  ASSERT_TRUE(reply.ParseFromString(take().substr(1)));
  EXPECT_EQ(reply.ok().command() + ' ' + reply.ok().argument(), "AUTH anna");
}

TEST_F(HubAccessTest, WithoutAPolicyAuthIsRefused) {
  services_.access = nullptr;
  Peer peer = connect();
  send(peer, "AUTH anna:a1\n");
  EXPECT_THAT(peer.take(), StartsWith("-ERR not_authenticated this gateway has no policy"));
}

// ---- changes ----

TEST_F(HubAccessTest, AUserThatIsGoneOrHasAnotherTokenIsDisconnected) {
  Peer anna = user("anna:a1", "SUB a.>\n");
  Peer idle = user("anna:a1");
  Peer bert = user("bert:b1", "SUB b.>\n");
  change(user_text("anna", "a2", "\"a\"") + user_text("bert", "b1", "\"b\"") + roles);
  publish("a.x");
  publish("b.x");
  EXPECT_EQ(anna.take(), "!BYE revoked\n");
  EXPECT_EQ(idle.take(), "!BYE revoked\n");
  EXPECT_EQ(bert.take(), "b.x 1 x\n");
  EXPECT_TRUE(anna.stream->output_ended);
  EXPECT_EQ(access_.read().revoked, 2u);
  change(user_text("anna", "a2", "\"a\"") + roles);
  EXPECT_EQ(bert.take(), "!BYE revoked\n");
}

TEST_F(HubAccessTest, AClientKeepsItsSubscriptionsOrIsDisconnected) {
  Peer narrow = user("anna:a1", "SUB a.x\n");
  Peer wide = user("anna:a1", "SUB >\n");
  Peer anonymous = connect();
  send(anonymous, "SUB open\n");
  prove();
  anonymous.take();
  change(text("\"a\", \"b\""));
  publish("b.x", "more");
  publish("a.x", "same");
  EXPECT_EQ(narrow.take(), "a.x 1 same\n");
  EXPECT_EQ(wide.take(), "b.x 1 more\na.x 1 same\n");
  change(text("\"b\""));
  publish("a.x", "secret");
  EXPECT_EQ(narrow.take(), "!BYE revoked\n");
  EXPECT_EQ(wide.take(), "!BYE revoked\n");
  EXPECT_EQ(anonymous.take(), "");
  change(user_text("anna", "a1", "") + roles);
  EXPECT_EQ(anonymous.take(), "!BYE revoked\n");
}

TEST_F(HubAccessTest, ARevokedClientsOutstandingRequestsAreDropped) {
  Peer anna = connect();
  send_token(anna, "AUTH anna:a1\nSUB a.> since=1h\nSUB > last\nTOPICS\n");
  anna.take();
  change(roles);
  EXPECT_EQ(anna.take(), "!BYE revoked\n");
  upstream_.topics_handler(TopicsPage{1, 1, {{.name = "a.x"}}, {}});
  hub_.on_replayed(1, broker_.publish("a.x", "1").delivery());
  retained_end(upstream_.requests);
  publish("a.x");
  EXPECT_EQ(anna.take(), "");
}

TEST_F(HubAccessTest, RightsToPublishEndAtOnce) {
  Peer anna = user("anna:a1", "SUB a.>\n");
  change(user_text("anna", "a1", "\"r\"") + "[roles.r]\nsubscribe = [\"a.>\"]\n");
  send(anna, "PUB a.x 1\n");
  EXPECT_EQ(anna.take(), "-ERR not_permitted a.x: user anna may not publish to a.x\n");
}

TEST_F(HubAccessTest, AnotherUsersTokenKeepsSubscriptionsOrEndsTheSession) {
  Peer peer = connect();
  send(peer, "SUB open\n");
  prove();
  send_token(peer, "AUTH anna:a1\n");
  EXPECT_EQ(peer.take(), "+OK SUB open\n!BYE revoked\n") << "anna may not read it";
}

TEST_F(HubAccessTest, AClientWithACertificateIsItsUserUntilItSendsAToken) {
  const std::string users = "[users.carl]\ncertificate = \"carl.example\"\nroles = [\"a\"]\n";
  change(text() + users);
  requests_.put({peer_.id, request::Identify{"carl.example"}});
  send("SUB a.x\nPUB b.x 1\n");
  prove();
  EXPECT_EQ(take(), "+OK SUB a.x\n-ERR not_permitted b.x: user carl may not publish to b.x\n");
  Peer browser = connect();
  requests_.put({browser.id, request::Identify{"carl.example"}});
  send(browser, get("/v1/topics?pattern=b.x"));
  EXPECT_THAT(browser.take(), HasSubstr("user carl may not list b.x"));
  Peer stranger = connect();
  requests_.put({stranger.id, request::Identify{"stranger.example"}});
  send(stranger, "SUB a.x\n");
  EXPECT_THAT(stranger.take(), StartsWith("-ERR not_authenticated "));
  change(text());
  EXPECT_EQ(take(), "!BYE revoked\n");
  EXPECT_TRUE(stranger.stream->output.empty());
}

// ---- HTTP ----

TEST_F(HubAccessTest, RequestsWithoutOrWithAWrongTokenAre401) {
  send(get("/v1/topics?pattern=a.x"));
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 401 "),
                            HasSubstr("\r\nWWW-Authenticate: Bearer realm=\"backplane\"\r\n"),
                            HasSubstr(R"("code":"not_authenticated")")));
  send(post("/v1/topics/a.x", "Hello"));
  EXPECT_EQ(statuses(), "401 ");
  send(get("/v1/events?topic=a.x"));
  EXPECT_EQ(statuses(), "401 ");
  peer_ = connect();
  send_token(get("/v1/topics?pattern=open", "localhost", bearer("anna:b1")));
  EXPECT_EQ(statuses(), "401 ");
  send(get("/v1/topics", "localhost", "Authorization: Basic YTpi\r\n"));
  EXPECT_EQ(statuses(), "401 ");
  send(get("/healthz") + get("/readyz") + get("/"));
  EXPECT_EQ(statuses(), "200 200 200 ");
  EXPECT_EQ(publisher_.state.offered, 0u);
}

TEST_F(HubAccessTest, WhatAUserMayNotDoIs403) {
  send_token(get("/v1/topics?pattern=b.x", "localhost", bearer("anna:a1")));
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 403 "), HasSubstr(R"("code":"not_permitted")")));
  send_token(post("/v1/topics/b.x", "Hello", bearer("anna:a1")));
  EXPECT_EQ(statuses(), "403 ");
  send_token(get("/metrics", "localhost", bearer("anna:a1")));
  EXPECT_EQ(statuses(), "403 ");
  send_token(get("/v1/events?topic=a.x&topic=b.x", "localhost", bearer("anna:a1")));
  EXPECT_THAT(take(), StartsWith("HTTP/1.1 403 "));
}

TEST_F(HubAccessTest, EachRequestOfAConnectionHasItsOwnUser) {
  send_token(post("/v1/topics/a.x", "1", bearer("anna:a1")));
  admit_all();
  EXPECT_EQ(statuses(), "200 ");
  send(post("/v1/topics/a.x", "2"));
  EXPECT_EQ(statuses(), "401 ");
  send_token(post("/v1/topics/b.x?access_token=bert:b1", "3"));
  admit_all();
  EXPECT_EQ(statuses(), "200 ");
  send_token(get("/v1/topics", "localhost", bearer("anna:a1")) + get("/healthz"));
  upstream_.topics_handler(TopicsPage{1, 1, {{.name = "a.x"}, {.name = "b.x"}}, {}});
  turn();
  EXPECT_THAT(take(), AllOf(HasSubstr("\"a.x\""), Not(HasSubstr("\"b.x\"")), EndsWith("ok\n")));
}

TEST_F(HubAccessTest, TheStatusOfTheGatewayIsForAdmins) {
  send_token(get("/metrics", "localhost", bearer("root:r1")) + get("/metrics"));
  EXPECT_EQ(statuses(), "200 401 ");
  EXPECT_EQ(pages_made_, 1);
}

TEST_F(HubAccessTest, EventStreamsHideWhatIsNotPermitted) {
  send_token(get("/v1/events?topic=%3E&access_token=anna%3Aa1"));
  const std::string head = take();
  EXPECT_THAT(head, AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), Not(HasSubstr("a1"))));
  publish("b.x");
  publish("a.x", "seen");
  EXPECT_THAT(take(), AllOf(HasSubstr("\"a.x\""), Not(HasSubstr("\"b.x\""))));
  change(roles);
  EXPECT_THAT(take(), HasSubstr(R"({"bye":"revoked"})"));
}

TEST_F(HubAccessTest, WebSocketsTakeATokenInTheQueryOrAsACommand) {
  const std::string handshake =
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  send_token(get("/v1/socket?topic=%3E&access_token=anna:a1", "localhost", handshake));
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 101 "), HasSubstr("+OK SUB >"), Not(HasSubstr("a1"))));
  publish("b.x");
  publish("a.x");
  EXPECT_THAT(take(), AllOf(HasSubstr("\"a.x\""), Not(HasSubstr("\"b.x\""))));
  change(roles);
  EXPECT_THAT(take(), AllOf(HasSubstr(R"({"bye":"revoked"})"), EndsWith("\x88\x09\x03\xf0revoked")));
  peer_ = connect();
  send(get("/v1/socket?topic=b.x", "localhost", handshake));
  EXPECT_THAT(take(), HasSubstr("-ERR not_authenticated b.x: "));
}

TEST_F(HubAccessTest, ATokenDoesNotExemptFromTheRulesForHostsAndOrigins) {
  send(get("/v1/topics", "elsewhere.example", bearer("anna:a1")));
  send(get("/v1/topics", "localhost", bearer("anna:a1") + "Origin: https://elsewhere.example\r\n"));
  EXPECT_EQ(statuses(), "403 403 ");
  EXPECT_EQ(decided(), 0u);
}

}  // namespace
}  // namespace backplane::gateway
