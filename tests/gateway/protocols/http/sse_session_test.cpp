#include "gateway/protocols/sse/sse_session.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/protocols/sse/events_request.hpp"
#include "tests/gateway/protocols/http/http_stage.hpp"

namespace backplane::gateway::sse {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

fanout::ShardOptions small_backlog() {
  fanout::ShardOptions options;
  options.client.backlog_bytes_max = 2000;
  options.idle_timeout = 600s;
  return options;
}

class SseSessionTest : public http::HttpStage {
 protected:
  SseSessionTest() : HttpStage(small_backlog()) {}

  void ask(const std::string& query, const std::string& fields = "") {
    send(get("/v1/events?" + query, "localhost", fields));
  }
  /// Sends a request, and discards the response head.
  void listen(const std::string& query, const std::string& fields = "") {
    come_up();
    ask(query, fields);
    prove();
    const std::string head = take();
    ASSERT_THAT(head, AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), EndsWith("\r\n\r\nretry: 2000\n\n")));
  }
};

http::Request request(const std::string& query, const std::string& token = "") {
  http::Request request;
  request.query = query;
  if (!token.empty()) request.fields.emplace_back("last-event-id", token);
  return request;
}

std::string wrong(const std::string& query, const std::string& token = "") {
  const auto read = read_events_request(request(query, token));
  return read ? "" : read.error().code;
}

TEST(EventsRequest, AppliesTheOptionsOfSubToEachTopic) {
  const auto read = read_events_request(
      request("topic=stock.>&topic=news.%2A&topic=stock.>&every=5s&last&policy=latest&since=10m"));
  ASSERT_TRUE(read) << read.error().text;
  ASSERT_THAT(read->subscribes, SizeIs(2));
  for (const Subscribe& each : read->subscribes) {
    EXPECT_EQ(each.every, 5s);
    EXPECT_TRUE(each.last);
    EXPECT_EQ(each.policy, fanout::Policy::latest);
    EXPECT_EQ(std::get<std::chrono::nanoseconds>(each.since), 10min);
  }
  EXPECT_EQ(read->subscribes.at(0).pattern.str(), "stock.>");
  EXPECT_EQ(read->subscribes.at(1).pattern.str(), "news.*");
}

TEST(EventsRequest, AResumeTokenTakesPrecedenceOverSinceAndLast) {
  const std::string token = "00c0ffee0000002a:9";
  for (const auto& asked :
       {request("topic=a&last&since=10m", token), request("topic=a&last_event_id=" + token),
        request("topic=a&last_event_id=00c0ffee0000002a:1", token)}) {
    const auto read = read_events_request(asked);
    ASSERT_TRUE(read);
    EXPECT_FALSE(read->subscribes.at(0).last);
    EXPECT_EQ(resume_token(std::get<AfterPositions>(read->subscribes.at(0).since).positions), token);
  }
}

TEST(EventsRequest, AResumeTokenMayHaveTheNamesThatEventSourcePolyfillsUse) {
  const std::string token = "00c0ffee0000002a:9";
  for (const std::string name : {"last_event_id", "lastEventId", "last-event-id", "Last-Event-ID",
                                 "lastEventID", "evs_last_event_id"}) {
    const auto read = read_events_request(request("topic=a&last&" + name + "=" + token));
    ASSERT_TRUE(read) << name << read.error().text;
    const auto* const after = std::get_if<AfterPositions>(&read->subscribes.at(0).since);
    ASSERT_NE(after, nullptr) << name;
    EXPECT_EQ(resume_token(after->positions), token);
    EXPECT_THAT(read->ignored, SizeIs(0));
    EXPECT_TRUE(read_events_request(request("topic=a&" + name + "=")));  // before the first event
  }
  // A polyfill appends its own, newer token.
  const auto read =
      read_events_request(request("topic=a&lastEventId=00c0ffee0000002a:1&lastEventId=" + token));
  ASSERT_TRUE(read);
  EXPECT_EQ(resume_token(std::get<AfterPositions>(read->subscribes.at(0).since).positions), token);
}

TEST(EventsRequest, UnknownParametersAreIgnoredAndReported) {
  const auto read = read_events_request(request("topic=a&_=1700000000&sicne=10m&r=0.5&x"));
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_THAT(read->subscribes, SizeIs(1));
  EXPECT_THAT(read->ignored, ElementsAre("_=1700000000", "sicne=10m", "r=0.5", "x"));
  const auto none = read_events_request(request("topics=a"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().text, "expected ?topic=<pattern> (such as ?topic=stock.>), got only \"topics=a\"");
}

TEST(EventsRequest, ErrorsHaveTheCodesOfTheLineProtocol) {
  EXPECT_EQ(wrong(""), "bad_argument");
  EXPECT_EQ(wrong("topic="), "bad_topic");
  EXPECT_EQ(wrong("topic=a..b"), "bad_topic");
  EXPECT_EQ(wrong("topic=a b"), "bad_topic");
  EXPECT_EQ(wrong("topic=a+last"), "bad_topic");
  EXPECT_EQ(wrong("topic=a%0aPUB"), "bad_topic");
  EXPECT_EQ(wrong("topic=a&every=5s+last"), "bad_option");
  EXPECT_EQ(wrong("topic=a&every=0s"), "bad_every");
  EXPECT_EQ(wrong("topic=a&every=1s&every=2s"), "bad_option");
  EXPECT_EQ(wrong("topic=a.>&since=17"), "offset_needs_exact_topic");
  EXPECT_EQ(wrong("topic=a&since=x"), "bad_since");
  EXPECT_EQ(wrong("topic=a&policy=x"), "bad_policy");
  EXPECT_EQ(wrong("topic=a&last=no"), "bad_option");
  EXPECT_EQ(wrong("topic=%zz"), "bad_argument");
  EXPECT_EQ(wrong("topic=a", "rubbish"), "bad_since");
}

TEST_F(SseSessionTest, SendsEventsWithTheirResumeTokens) {
  come_up();
  ask("topic=stock.>&topic=news.uk");
  EXPECT_EQ(take(), "");
  prove();
  EXPECT_THAT(take(),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("\r\nContent-Type: text/event-stream\r\n"),
                    HasSubstr("\r\nCache-Control: no-cache, no-transform\r\n"),
                    HasSubstr("\r\nX-Accel-Buffering: no\r\n"), HasSubstr("\r\nConnection: close\r\n"),
                    EndsWith("\r\n\r\nretry: 2000\n\n")));
  EXPECT_EQ(site_.counters().read().sse_clients, 1u);
  publish("stock.MSFT", "39.81");
  EXPECT_THAT(take(), AllOf(StartsWith("id: 0000000100000001:1\ndata: {\"topic\":\"stock.MSFT\","),
                            EndsWith("\"text\":\"39.81\"}\n\n")));
  publish("news.us", "x");
  EXPECT_EQ(take(), "");
}

TEST_F(SseSessionTest, NamesIgnoredParametersInAComment) {
  come_up();
  ask("topic=a&sicne=10m&%0adata:%20x=1");
  prove();
  EXPECT_THAT(take(), EndsWith("\r\n\r\nretry: 2000\n\n"
                               ": ignored \"sicne=10m\", \"\\ndata: x=1\": expected topic=, last, since=, "
                               "every=, policy= or last_event_id=\n\n"));
}

TEST_F(SseSessionTest, AnErrorBeforeTheStreamBeginsIsAnHttpError) {
  come_up();
  ask("topic=a..b");
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr(R"("code":"bad_topic")")));
  EXPECT_FALSE(peer_.stream->output_ended) << "the connection can still be used";
  ask("topic=a&last");
  prove();
  hub_.on_retained_end(1, RetainedEnd{{}, Error{ErrorCode::timeout, "no reply"}});
  turn();
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("application/problem+json")));
  EXPECT_TRUE(peer_.stream->output_ended);
}

TEST_F(SseSessionTest, NotifiesThatTheBrokerIsGoneAndBack) {
  now_ += 2s;
  ask("topic=a");
  EXPECT_THAT(take(), EndsWith("retry: 2000\n\nevent: wait\ndata: {\"wait\":\"broker\"}\n\n"));
  come_up();
  EXPECT_EQ(take(), "event: live\ndata: {\"live\":\"broker\"}\n\n");
  shard_.say_goodbye("drain");
  turn();
  EXPECT_EQ(take(), "event: bye\ndata: {\"bye\":\"drain\"}\n\n");
  EXPECT_TRUE(peer_.stream->output_ended);
}

TEST_F(SseSessionTest, ReportsTheEventsThatASlowClientLost) {
  listen("topic=a");
  peer_.stream->room = 0;
  for (int i = 0; i < 100; ++i) publish("a");
  read_all(peer_);
  const std::string all = take();
  EXPECT_THAT(
      all,
      HasSubstr("event: gap\ndata: {\"gap\":{\"topic\":\"a\",\"stream\":\"0000000100000001\",\"first\":"));
  EXPECT_THAT(all, HasSubstr("id: 0000000100000001:100\n"));
}

TEST_F(SseSessionTest, SendsACommentAfterAQuietTime) {
  listen("topic=a");
  now_ += 10s;
  publish("a");
  take();
  now_ += 6s;
  turn();
  EXPECT_EQ(take(), "") << "the last event was 6 s ago";
  now_ += 9s + 100ms;
  turn();
  EXPECT_EQ(take(), ":\n\n");
  peer_.stream->room = 0;
  for (int i = 0; i < 100; ++i) {
    now_ += 15s + 100ms;
    turn();
  }
  read_all(peer_);
  EXPECT_EQ(take(), ":\n\n") << "a client with unread data gets no other comment";
  EXPECT_NE(shard_.find(peer_.id), nullptr);
}

TEST_F(SseSessionTest, ResumesAfterTheTokenAndContinuesLive) {
  listen("topic=a", "Last-Event-ID: 0000000100000001:1\r\n");
  ASSERT_EQ(upstream_.replays.size(), 1u);
  const auto& from = std::get<AfterPositions>(upstream_.replays[0].from);
  EXPECT_EQ(resume_token(from.positions), "0000000100000001:1");
}

TEST_F(SseSessionTest, RetainedValuesHaveNoTokenBecauseTheyHaveNoOrder) {
  come_up();
  const auto a = broker_.publish("v.a", "1");
  const auto b = broker_.publish("v.b", "2");
  ask("topic=v.*&last");
  prove();
  retained(1, a);
  retained(1, b);
  retained_end(1);
  EXPECT_THAT(take(), AllOf(HasSubstr("\"v.a\""), HasSubstr("\"v.b\""), Not(HasSubstr("id: "))));
  publish("v.a", "3");
  EXPECT_THAT(take(), StartsWith("id: 0000000100000001:3\n"));
}

/// A client that is cut off before the first event can resume from it.
TEST_F(SseSessionTest, AnIdWithoutAnEventIsSentWhenTheSubscriptionsBegin) {
  upstream_.live_position_now = {broker_.stream(), 5};
  come_up();
  ask("topic=a&topic=b");
  prove();
  EXPECT_THAT(take(), EndsWith("retry: 2000\n\nid: 0000000100000001:5\n\n"));
}

TEST_F(SseSessionTest, AnIdWithoutAnEventFollowsRetainedValues) {
  come_up();
  const auto a = broker_.publish("v.a", "1");
  upstream_.live_position_now = {broker_.stream(), 1};
  ask("topic=v.*&last");
  prove();
  EXPECT_THAT(take(), Not(HasSubstr("id: ")));
  retained(1, a);
  retained_end(1);
  EXPECT_THAT(take(), AllOf(HasSubstr("\"v.a\""), EndsWith("}\n\nid: 0000000100000001:1\n\n")));
}

TEST_F(SseSessionTest, TheIdWithoutAnEventIsThatOfTheLastEvent) {
  listen("topic=a");
  for (int i = 0; i < 3; ++i) publish("a");
  upstream_.live_position_now = {broker_.stream(), 1};
  Peer other = connect();
  send(other, get("/v1/events?topic=a"));
  prove();
  EXPECT_THAT(other.take(), EndsWith("\nid: 0000000100000001:3\n\n"));
}

/// A client that is cut off before these events would otherwise resume after them.
TEST_F(SseSessionTest, TheIdWithoutAnEventIsBelowEventsInTheReorderBuffer) {
  upstream_.is_recovering_now = true;
  upstream_.live_position_now = {broker_.stream(), 9};
  come_up();
  ask("topic=a");
  prove();
  EXPECT_THAT(take(), Not(HasSubstr("id: "))) << "nothing has been sent yet";
  for (int i = 0; i < 3; ++i) publish("a");
  Peer other = connect();
  send(other, get("/v1/events?topic=a"));
  prove();
  EXPECT_THAT(other.take(), EndsWith("\nid: 0000000100000001:3\n\n"));
}

/// A client that is cut off meanwhile would otherwise resume from the position of one history, and miss the
/// rest of the other.
TEST_F(SseSessionTest, HistoriesOfSeveralPatternsHaveNoTokenUntilAllHaveBeenSent) {
  come_up();
  std::vector<NumberedEvents::Event> past;
  for (const std::string topic : {"a", "b", "a", "b"}) past.push_back(broker_.publish(topic, topic));
  ask("topic=a&topic=b&last_event_id=0000000100000001:0");
  prove();
  ASSERT_EQ(upstream_.replays.size(), 2u);
  const auto give = [&](std::size_t which, std::vector<std::size_t> events, bool complete) {
    const std::uint64_t request = upstream_.replays[which].request;
    for (const std::size_t each : events) hub_.on_replayed(request, past[each].delivery());
    ReplaySlice slice;
    slice.complete = complete;
    slice.through = {{broker_.stream(), 0}};
    slice.through.front().position = broker_.position();
    hub_.on_replay_slice(request, slice);
    turn();
  };
  give(0, {0, 2}, true);
  give(0, {}, true);
  publish("a", "live");
  EXPECT_THAT(take(), AllOf(HasSubstr("\"live\""), Not(HasSubstr("id: "))));
  give(1, {1}, false);
  publish("a", "live");
  give(1, {3}, true);
  EXPECT_THAT(take(), Not(HasSubstr("id: ")));
  give(1, {}, true);
  EXPECT_EQ(take(), "id: 0000000100000001:6\n\n");
  publish("b", "live");
  EXPECT_THAT(take(), StartsWith("id: 0000000100000001:7\n"));
}

TEST(EventsRequest, ATopicThatAnotherPatternMatchesIsNotSubscribedToTwice) {
  const auto read = read_events_request(request("topic=a.b&topic=a.>&topic=c"));
  ASSERT_TRUE(read);
  ASSERT_THAT(read->subscribes, SizeIs(2));
  EXPECT_EQ(read->subscribes.at(0).pattern.str(), "a.>");
  EXPECT_EQ(read->subscribes.at(1).pattern.str(), "c");
}

TEST_F(SseSessionTest, AClientThatClosesItsSideContinuesToReceive) {
  come_up();
  peer_.stream->input_ends = true;
  ask("topic=a");
  prove();
  publish("a", "x");
  EXPECT_THAT(take(), HasSubstr("id: 0000000100000001:1\n"));
  EXPECT_FALSE(peer_.stream->output_ended);
}

TEST_F(SseSessionTest, AClientThatClosesBothSidesIsNoticedAtOnce) {
  listen("topic=a");
  peer_.stream->error = EPIPE;
  end_input(peer_);
  EXPECT_EQ(hub_.counters().subscriptions, 0u);
}

TEST_F(SseSessionTest, HeadOpensNoStream) {
  come_up();
  send("HEAD /v1/events?topic=a HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(take(), AllOf(HasSubstr("text/event-stream"), EndsWith("\r\n\r\n")));
  EXPECT_EQ(hub_.counters().subscriptions, 0u);
}

TEST_F(SseSessionTest, AClientThatLeavesEndsItsSubscriptions) {
  listen("topic=a");
  peer_.stream->error = EPIPE;
  publish("a");
  EXPECT_EQ(site_.counters().read().sse_clients, 0u);
  EXPECT_EQ(hub_.counters().subscriptions, 0u);
}

}  // namespace
}  // namespace backplane::gateway::sse
