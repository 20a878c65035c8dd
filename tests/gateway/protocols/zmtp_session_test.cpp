#include "gateway/protocols/zmtp/zmtp_session.hpp"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backplane/v1/event.pb.h"
#include "backplane/v1/session.pb.h"
#include "core/wire/stamp.hpp"
#include "tests/gateway/protocols/zmtp_peer.hpp"
#include "tests/gateway/stage.hpp"

namespace backplane::gateway {
namespace {

using namespace zmtp_peer;

using namespace std::chrono_literals;
using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

wire::Stamp stamp_of(std::string_view event) {
  const auto stamp = wire::read_stamp(std::as_bytes(std::span(event)));
  EXPECT_TRUE(stamp);
  return stamp.value_or(wire::Stamp{});
}

v1::ServerMessage::Gap gap_of(std::string_view event) {
  v1::Event parsed;
  v1::ServerMessage::Gap gap;
  EXPECT_TRUE(parsed.ParseFromArray(event.data(), static_cast<int>(event.size())));
  EXPECT_TRUE(parsed.message().UnpackTo(&gap)) << parsed.ShortDebugString();
  return gap;
}

fanout::ShardOptions small_backlog() {
  fanout::ShardOptions options;
  options.client.backlog_bytes_max = 400;
  options.idle_timeout = 600s;
  return options;
}

HubLimits few_subscriptions() {
  HubLimits limits;
  limits.subscriptions_per_client_max = 20;
  return limits;
}

class ZmtpSessionTest : public Stage {
 protected:
  ZmtpSessionTest() : Stage(few_subscriptions(), small_backlog()) { come_up(); }

  /// A client whose handshake is complete.
  Peer client(std::string_view type) {
    Peer peer = connect();
    send(peer, hello(type));
    const std::string reply = peer.take();
    EXPECT_EQ(reply.substr(0, greeting_bytes), greeting());
    EXPECT_FALSE(over(peer));
    return peer;
  }
  Peer subscriber(const std::vector<std::string_view>& prefixes) {
    Peer peer = client("SUB");
    for (const std::string_view prefix : prefixes) send(peer, command("SUBSCRIBE", prefix));
    prove();
    return peer;
  }
  [[nodiscard]] bool over(const Peer& peer) { return shard_.find(peer.id) == nullptr; }
  /// The topics of what has arrived since the last call.
  static std::vector<std::string> topics(Peer& peer) { return received(peer.take()).topics(); }
};

TEST_F(ZmtpSessionTest, ASubGetsTheTopicAndTheEventAsTheBrokerHasStampedIt) {
  Peer peer = subscriber({"stock."});
  const NumberedEvents::Event event = publish("stock.MSFT", "39.81");
  publish("clock", "now");
  const Received got = received(peer.take());
  ASSERT_EQ(got.topics(), std::vector<std::string>{"stock.MSFT"});
  EXPECT_EQ(got.messages[0].second, event.bytes);
}

TEST_F(ZmtpSessionTest, APrefixIsOfBytesNotOfTokens) {
  Peer middle = subscriber({"sto"});
  Peer token = subscriber({"stock"});
  Peer exact = subscriber({"stock.MSFT"});
  publish("stock.MSFT");
  publish("stockholm");
  publish("stock.MSFTX");
  publish("story");
  publish("st");
  EXPECT_THAT(topics(middle), ElementsAre("stock.MSFT", "stockholm", "stock.MSFTX", "story"));
  EXPECT_THAT(topics(token), ElementsAre("stock.MSFT", "stockholm", "stock.MSFTX"));
  EXPECT_THAT(topics(exact), ElementsAre("stock.MSFT", "stock.MSFTX"));
}

TEST_F(ZmtpSessionTest, TopicsOfTheSystemArriveOnlyIfTheyAreRequestedByName) {
  Peer everything = subscriber({""});
  Peer system = subscriber({"$SYS.bro"});
  publish("a");
  publish("$SYS.broker.default.stats");
  EXPECT_THAT(topics(everything), ElementsAre("a"));
  EXPECT_THAT(topics(system), ElementsAre("$SYS.broker.default.stats"));
}

TEST_F(ZmtpSessionTest, AnEventThatSeveralPrefixesMatchArrivesOnce) {
  Peer peer = subscriber({"", "s", "stock.", "stock.MSFT", "$SYS.last.stock."});
  publish("stock.MSFT");
  EXPECT_THAT(topics(peer), ElementsAre("stock.MSFT"));
}

TEST_F(ZmtpSessionTest, OneCancelEndsAPrefixHoweverOftenItWasSubscribedTo) {
  Peer peer = subscriber({"a", "a", "b"});
  EXPECT_EQ(upstream_.prefixes, (std::map<std::string, int>{{"a", 1}, {"b", 1}}));
  send(peer, command("CANCEL", "a") + command("CANCEL", "never"));
  publish("a");
  publish("b");
  EXPECT_THAT(topics(peer), ElementsAre("b"));
  EXPECT_EQ(upstream_.prefixes, (std::map<std::string, int>{{"b", 1}}));
  EXPECT_EQ(hub_.counters().subscriptions, 1U);
}

TEST_F(ZmtpSessionTest, ClientsOfOnePrefixShareOneEncoding) {
  std::vector<Peer> peers;
  for (int i = 0; i < 10; ++i) peers.push_back(subscriber({"a"}));
  publish("a");
  for (Peer& peer : peers) EXPECT_THAT(topics(peer), ElementsAre("a"));
  EXPECT_EQ(hub_.counters().encoded, 1U);
  EXPECT_EQ(outlet_.appended, 1U);
}

TEST_F(ZmtpSessionTest, NothingIsLeftOfAClientThatHasGone) {
  Peer peer = subscriber({"a", "b", "$SYS.gap.", "$SYS.last.a"});
  Peer stays = subscriber({"b"});
  end_input(peer);
  EXPECT_TRUE(over(peer));
  EXPECT_EQ(hub_.counters().subscriptions, 1U);
  EXPECT_EQ(upstream_.prefixes, (std::map<std::string, int>{{"b", 1}}));
  publish("b");
  EXPECT_THAT(topics(stays), ElementsAre("b"));
  hub_.on_gap({.stream = broker_.stream(), .topic = "b", .first = 2, .last = 2});
  turn();
}

TEST_F(ZmtpSessionTest, TheLiveReplyComesWhenAllEarlierSubscriptionsAreActive) {
  Peer peer = client("SUB");
  upstream_.live_position_now = {broker_.stream(), 7};
  send(peer, command("SUBSCRIBE", "a") + command("SUBSCRIBE", "$SYS.live.1234"));
  EXPECT_EQ(peer.take(), "");
  prove();
  Received got = received(peer.take());
  ASSERT_EQ(got.topics(), std::vector<std::string>{"$SYS.live.1234"});
  EXPECT_EQ(stamp_of(got.messages[0].second).stream, broker_.stream());
  EXPECT_EQ(stamp_of(got.messages[0].second).position, 7U);
  EXPECT_EQ(stamp_of(got.messages[0].second).offset, 0U);
  send(peer, command("SUBSCRIBE", "$SYS.live.5678"));
  EXPECT_THAT(topics(peer), ElementsAre("$SYS.live.5678")) << "at once: nothing waits";
  EXPECT_EQ(upstream_.prefixes, (std::map<std::string, int>{{"a", 1}})) << "the broker is not asked";
}

TEST_F(ZmtpSessionTest, ALiveReplyWaitsForTheBroker) {
  hub_.on_connection(false);
  Peer peer = client("SUB");
  send(peer,
       command("SUBSCRIBE", "a") + command("SUBSCRIBE", "$SYS.live.1") + command("SUBSCRIBE", "$SYS.live.2"));
  Peer gone = client("SUB");
  send(gone, command("SUBSCRIBE", "b") + command("SUBSCRIBE", "$SYS.live.3"));
  end_input(gone);
  EXPECT_EQ(peer.take(), "");
  come_up();
  EXPECT_THAT(topics(peer), ElementsAre("$SYS.live.1", "$SYS.live.2"));
}

TEST_F(ZmtpSessionTest, LastBeginsWithTheRetainedValuesUnderTheirOwnTopics) {
  Peer peer = client("SUB");
  send(peer, command("SUBSCRIBE", "stock.") + command("SUBSCRIBE", "$SYS.last.stock."));
  prove();
  ASSERT_EQ(upstream_.asked, std::vector<std::string>{"stock.>"});
  const auto old = broker_.publish("stock.MSFT", "1");
  retained(upstream_.requests, old);
  retained_end(upstream_.requests);
  Received got = received(peer.take());
  ASSERT_EQ(got.topics(), std::vector<std::string>{"stock.MSFT"});
  EXPECT_EQ(got.messages[0].second, old.bytes);
  publish("stock.MSFT", "2");
  EXPECT_THAT(topics(peer), ElementsAre("stock.MSFT"));
  send(peer, command("CANCEL", "$SYS.last.stock."));
  publish("stock.MSFT", "3");
  EXPECT_THAT(topics(peer), ElementsAre("stock.MSFT")) << "the prefix itself is still there";
}

TEST_F(ZmtpSessionTest, AValueThatHasArrivedLiveIsNotSentAgain) {
  Peer peer = client("SUB");
  send(peer, command("SUBSCRIBE", "stock.") + command("SUBSCRIBE", "$SYS.last.stock."));
  prove();
  const auto old = broker_.publish("stock.OLD", "1");
  const auto live = publish("stock.MSFT", "2");
  EXPECT_THAT(topics(peer), ElementsAre("stock.MSFT"));
  retained(upstream_.requests, live);
  retained(upstream_.requests, old);
  retained_end(upstream_.requests);
  EXPECT_THAT(topics(peer), ElementsAre("stock.OLD"));
}

TEST_F(ZmtpSessionTest, LastOfOneTopicIsThatTopic) {
  Peer peer = subscriber({"$SYS.last.clock", "$SYS.last.", "$SYS.last..", "$SYS.last.a b"});
  EXPECT_EQ(upstream_.asked, (std::vector<std::string>{"clock", ">"}));
  EXPECT_EQ(sessions_.read().refusals.back(), 2U) << "two are no topics";
  EXPECT_FALSE(over(peer));
}

TEST_F(ZmtpSessionTest, ASlowSubLearnsExactlyWhatItHasLost) {
  Peer slow = subscriber({"a", "b", "$SYS.gap.a"});
  Peer healthy = subscriber({"a", "b"});
  slow.stream->room = 0;
  for (int i = 0; i < 20; ++i) publish(i % 2 == 0 ? "a" : "b", std::string(40, 'x'));
  EXPECT_EQ(topics(healthy).size(), 20U);
  read_all(slow);
  const Received got = received(slow.take());
  std::vector<std::uint64_t> offsets;
  std::uint64_t lost = 0;
  for (const auto& [topic, event] : got.messages) {
    if (topic == "$SYS.gap.a") {
      const auto gap = gap_of(event);
      EXPECT_EQ(gap.topic(), "a");
      EXPECT_EQ(gap.reason(), "slow_consumer");
      EXPECT_EQ(gap.stream(), broker_.stream());
      EXPECT_EQ(stamp_of(event).offset, 0U);
      EXPECT_EQ(gap.first(), offsets.empty() ? 1 : offsets.back() + 1);
      lost += gap.last() - gap.first() + 1;
      offsets.push_back(gap.last());
    } else if (topic == "a") {
      offsets.push_back(stamp_of(event).offset);
    } else {
      EXPECT_EQ(topic, "b") << "gaps of b were not asked for";
    }
  }
  EXPECT_GT(lost, 0U);
  ASSERT_FALSE(offsets.empty());
  EXPECT_EQ(offsets.back(), 10U);
  const fanout::DeliveryLedger ledger = shard_.ledger();
  EXPECT_EQ(ledger.matched, ledger.delivered + ledger.dropped + ledger.pending);
}

TEST_F(ZmtpSessionTest, AGapOnTheWayToTheGatewayReachesThoseWhoAskForIt) {
  Peer asks = subscriber({"a", "$SYS.gap."});
  Peer asks_for_system = subscriber({"a", "$SYS."});
  Peer does_not_ask = subscriber({"a"});
  Peer of_other_topics = subscriber({"b", "$SYS.gap."});
  Peer by_last = subscriber({"$SYS.gap.", "$SYS.last.a"});
  publish("a");
  for (Peer* each : {&asks, &asks_for_system, &does_not_ask, &of_other_topics, &by_last}) each->take();
  const std::uint64_t lost = broker_.lose("a");
  hub_.on_gap({.stream = broker_.stream(),
               .topic = "a",
               .first = lost,
               .last = lost,
               .reason = GapReason::history_gone,
               .position = broker_.position()});
  turn();
  for (Peer* each : {&asks, &asks_for_system}) {
    const Received got = received(each->take());
    ASSERT_EQ(got.topics(), std::vector<std::string>{"$SYS.gap.a"});
    EXPECT_EQ(gap_of(got.messages[0].second).first(), lost);
    EXPECT_EQ(gap_of(got.messages[0].second).reason(), "history_gone");
  }
  EXPECT_THAT(topics(does_not_ask), IsEmpty());
  EXPECT_THAT(topics(of_other_topics), IsEmpty());
}

TEST_F(ZmtpSessionTest, AClientThatHasTooManySubscriptionsIsDisconnected) {
  Peer peer = client("SUB");
  for (int i = 0; i < 20; ++i) send(peer, command("SUBSCRIBE", "a" + std::to_string(i)));
  EXPECT_FALSE(over(peer));
  send(peer, command("SUBSCRIBE", "b"));
  EXPECT_TRUE(peer.stream->output_ended);
  EXPECT_EQ(sessions_.read().goodbyes[sessions_.read().goodbyes.size() - 4], 1U);
}

TEST_F(ZmtpSessionTest, APubPublishesTextOrBytes) {
  Peer peer = client("PUB");
  send(peer, message({"weather.roof", "21.5"}));
  EXPECT_EQ(publisher_.last_topic, "weather.roof");
  EXPECT_EQ(publisher_.last_text, "21.5");
  admit_all();
  send(peer, message({"weather.roof", "\xff\0"s}));
  EXPECT_EQ(publisher_.last_text, "\xff\0"s);
  send(peer, message({"$SYS.x", "x"}) + message({"a..b", "x"}) + message({"a"}) + message({"a", "b", "c"}));
  EXPECT_EQ(publisher_.state.offered, 2U);
  EXPECT_EQ(sessions_.read().refusals.back(), 4U);
  EXPECT_FALSE(over(peer));
}

TEST_F(ZmtpSessionTest, APubIsNotReadWhileItsEventsWait) {
  Peer peer = client("PUB");
  peer.stream->input.clear();
  std::string flood;
  for (int i = 0; i < 5000; ++i) flood += message({"a", "x"});
  send(peer, flood);
  EXPECT_FALSE(peer.stream->input.empty());
  EXPECT_LT(publisher_.state.offered, 2000U);
  for (int i = 0; i < 20 && publisher_.state.offered < 5000; ++i) admit_all();
  EXPECT_EQ(publisher_.state.offered, 5000U);
}

TEST_F(ZmtpSessionTest, OtherSocketTypesAreRefusedByAnError) {
  for (const std::string_view type : {"DEALER", "REQ", "PUSH", "PAIR", "ROUTER"}) {
    Peer peer = connect();
    send(peer, hello(type));
    EXPECT_EQ(peer.take(), greeting() + command("ERROR",
                                                "\x0f"
                                                "bad_socket_type"))
        << type;
    EXPECT_TRUE(peer.stream->output_ended);
  }
  EXPECT_EQ(zmtp_.counters.read().faults[static_cast<std::size_t>(zmtp::Fault::bad_socket_type)], 5U);
}

TEST_F(ZmtpSessionTest, APingIsAnswered) {
  Peer peer = client("SUB");
  send(peer, command("PING",
                     "\0\x0a"
                     "abc"s));
  EXPECT_EQ(peer.take(), command("PONG", "abc"));
}

TEST_F(ZmtpSessionTest, AHalfHandshakeEndsInTime) {
  Peer peer = connect();
  send(peer, greeting().substr(0, 40));
  now_ += 9s;
  turn();
  EXPECT_FALSE(peer.stream->output_ended);
  now_ += 2s;
  turn();
  EXPECT_TRUE(peer.stream->output_ended);
  Peer silent = client("SUB");
  now_ += std::chrono::hours{1};
  turn();
  EXPECT_FALSE(over(silent)) << "after the handshake, a client may be silent";
}

TEST_F(ZmtpSessionTest, RandomBytesAfterTheFirstEndTheConnection) {
  Peer peer = connect();
  send(peer, "\xff");
  EXPECT_FALSE(peer.stream->output_ended);
  send(peer, "nonsense of any kind");
  EXPECT_TRUE(peer.stream->output_ended);
  EXPECT_EQ(zmtp_.counters.read().faults[static_cast<std::size_t>(zmtp::Fault::bad_greeting)], 1U);
}

TEST_F(ZmtpSessionTest, ATelnetClientIsNoZeroMqClient) {
  Peer peer = connect();
  send(peer, "\xff\xfd\x01PING\r\n");
  EXPECT_THAT(peer.take(), ::testing::HasSubstr("+PONG\n"));
}

}  // namespace
}  // namespace backplane::gateway
