#include "gateway/protocols/http_server/http_session.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/web/assets.hpp"
#include "tests/gateway/protocols/http/http_stage.hpp"

namespace backplane::gateway::http {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class HttpSessionTest : public HttpStage {};

TEST_F(HttpSessionTest, RespondsInOrderOnOneConnection) {
  come_up();
  send(get("/healthz") + post("/v1/topics/news.uk", "Hello") + get("/readyz") + get("/v1/nothing"));
  EXPECT_EQ(statuses(), "200 ");
  EXPECT_EQ(publisher_.last_text, "Hello");
  admit_all();
  EXPECT_EQ(statuses(), "200 200 404 ");
  send(get("/v1/status"));
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("\r\nConnection: keep-alive\r\n"),
                            EndsWith("\r\n\r\n{\"status\":1}\n")));
}

TEST_F(HttpSessionTest, RespondsTheSameToRequestsInPiecesOfAnySize) {
  const std::string requests = get("/healthz") + get("/metrics") + get("/x y");
  for (const std::size_t piece : {1u, 5u, 4096u}) {
    Peer peer = connect();
    peer.stream->read_max = piece;
    send(peer, requests);
    peer_ = peer;
    EXPECT_EQ(statuses(), "200 200 400 ");
    EXPECT_TRUE(peer.stream->output_ended);
  }
}

TEST_F(HttpSessionTest, HeadHasNoBodyButItsLength) {
  send("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(take(), AllOf(HasSubstr("Content-Length: 3\r\n"), EndsWith("\r\n\r\n")));
}

TEST_F(HttpSessionTest, ClosesOnRequestAndAfterAMalformedRequest) {
  send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" + get("/healthz"));
  EXPECT_EQ(statuses(), "200 ");
  EXPECT_TRUE(peer_.stream->output_ended);
  Peer old = connect();
  send(old, "GET /healthz HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.take(), HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_TRUE(old.stream->output_ended);
  Peer bad = connect();
  send(bad,
       "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nPUB a "
       "forged\n");
  EXPECT_THAT(bad.take(), AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("application/problem+json"),
                                HasSubstr(R"({"type":"about:blank","title":"Bad Request","status":400,)")));
  EXPECT_TRUE(bad.stream->output_ended);
  EXPECT_EQ(publisher_.state.offered, 0u);
}

TEST_F(HttpSessionTest, RefusesInvalidRequestsWithTheirStatus) {
  const auto status = [&](const std::string& request) {
    Peer peer = connect();
    send(peer, request);
    const std::string all = peer.take();
    if (all.find("405") != std::string::npos) {
      EXPECT_THAT(all, HasSubstr("\r\nAllow: "));
    }
    return all.substr(9, 3);
  };
  EXPECT_EQ(status(get("/nothing")), "404");
  EXPECT_EQ(status(post("/healthz", "")), "405");
  EXPECT_EQ(status(get("/v1/topics/a")), "405");
  EXPECT_EQ(status("BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "501");
  EXPECT_EQ(status(post("/v1/topics/a..b", "x")), "400");
  EXPECT_EQ(status(post("/v1/topics/$SYS.x", "x")), "400");
  EXPECT_EQ(status(post("/v1/topics/a%2", "x")), "400");
  EXPECT_EQ(status(post("/v1/topics/a", "\xff")), "400");
  EXPECT_EQ(status(post("/v1/topics/a", "x", "Content-Type: multipart/form-data; boundary=x\r\n")), "415");
  EXPECT_EQ(status(post("/v1/topics/a", "x", "Content-Encoding: gzip\r\n")), "415");
  EXPECT_EQ(status(post("/v1/topics/a", std::string(3000, 'x'))), "413");
  EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(20'000, 'x')), "431");
  EXPECT_EQ(status("GET /" + std::string(20'000, 'x') + " HTTP/1.1\r\nHost: localhost\r\n\r\n"), "414");
  EXPECT_EQ(status("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n"), "505");
  EXPECT_EQ(status(get("/v1/topics?pattern=a..b")), "400");
  EXPECT_EQ(status(get("/v1/topics?what=a")), "400");
  EXPECT_EQ(status(get("/v1/socket")), "426");
  EXPECT_EQ(status(get("/readyz")), "200");
  not_ready_ = "no broker is connected";
  EXPECT_EQ(status(get("/readyz")), "503");
}

TEST_F(HttpSessionTest, PublishesTheBodyUnchanged) {
  come_up();
  send(post("/v1/topics/news%2euk", "one\\n\ntwo", "Content-Type: text/plain; charset=UTF-8\r\n"));
  EXPECT_EQ(publisher_.last_text, "one\\n\ntwo");
  EXPECT_EQ(take(), "");
  admit_all();
  EXPECT_THAT(take(), EndsWith("\r\n\r\n{\"topic\":\"news.uk\"}\n"));
}

TEST_F(HttpSessionTest, RespondsWith503WithoutABroker) {
  publisher_.state.ready = false;
  send(post("/v1/topics/a", "x"));
  now_ += 2h;
  publish_queue_.pump(now_);
  turn();
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("\r\nRetry-After: ")));
}

TEST_F(HttpSessionTest, ListsTopicsInChunks) {
  come_up();
  send(get("/v1/topics?pattern=stock.%3E"));
  ASSERT_THAT(upstream_.topics_asked, ElementsAre("stock.>@"));
  TopicsPage first;
  first.topics.push_back({.name = "stock.A", .offset = 17, .value_bytes = 128, .received_ns = 0});
  first.cursor = "more";
  upstream_.topics_handler(std::move(first));
  turn();
  TopicsPage last;
  last.topics.push_back({.name = "stock.B", .offset = 1, .value_bytes = 2, .received_ns = 1LL << 62});
  upstream_.topics_handler(std::move(last));
  turn();
  const std::string answer = take();
  EXPECT_THAT(answer, AllOf(HasSubstr("\r\nTransfer-Encoding: chunked\r\n"),
                            HasSubstr(R"({"topics":[)"
                                      "\n"
                                      R"({"topic":"stock.A","offset":17,"bytes":128,"age":)"),
                            HasSubstr(",\n"
                                      R"({"topic":"stock.B","offset":1,"bytes":2,"age":0.0})"),
                            EndsWith("\n]}\n\r\n0\r\n\r\n")));
  send(get("/v1/topics"));
  upstream_.topics_handler(TopicsPage{});
  turn();
  EXPECT_THAT(take(), EndsWith("{\"topics\":[]}\n\r\n0\r\n\r\n"));
}

TEST_F(HttpSessionTest, AnIncompleteListHasNoEnd) {
  come_up();
  send(get("/v1/topics"));
  upstream_.topics_handler(fail(ErrorCode::unavailable, "gone"));
  turn();
  EXPECT_THAT(take(), StartsWith("HTTP/1.1 503 "));
  send(get("/v1/topics"));
  TopicsPage first;
  first.topics.push_back({.name = "a", .offset = 1});
  first.cursor = "more";
  upstream_.topics_handler(std::move(first));
  turn();
  upstream_.topics_handler(fail(ErrorCode::unavailable, "gone"));
  turn();
  EXPECT_THAT(take(), Not(HasSubstr("0\r\n\r\n")));
  EXPECT_TRUE(peer_.stream->output_ended);
}

TEST_F(HttpSessionTest, RefusesRequestsToOtherHosts) {
  for (const std::string host :
       {"localhost", "LOCALHOST:1601", "127.0.0.1", "127.9.9.9:80", "[::1]:1601", "page.localhost",
        "10.1.2.3:1601", "gateway.example", "gateway.example.:99", "listens.example"}) {
    send(get("/v1/status", host));
    EXPECT_EQ(statuses(), "200 ") << host;
  }
  for (const std::string host :
       {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.1.2.4", "[::2]", "0x7f.1", "",
        "127.0.0.1@evil.example", "[::1].evil.example"}) {
    Peer peer = connect();
    send(peer, get("/v1/status", host) + post("/v1/topics/a", "x", "", host));
    peer_ = peer;
    EXPECT_THAT(statuses(), AllOf(StartsWith("40"), Not(HasSubstr("200")))) << host;
  }
  EXPECT_EQ(publisher_.state.offered, 0u);
  EXPECT_GT(site_.counters().read().refused[static_cast<std::size_t>(Refusal::host)], 0u);
}

TEST_F(HttpSessionTest, MetricsAndHealthChecksMayBeAddressedToAnyHost) {
  // Prometheus and Kubernetes use the name of a service.
  for (const std::string path : {"/metrics", "/healthz", "/readyz"}) {
    for (const std::string host : {"gateway.monitoring.svc:1601", "10.9.8.7:1601", "[::2]"}) {
      send(get(path, host));
      EXPECT_EQ(statuses(), "200 ") << path << " " << host;
    }
    send("HEAD " + path + " HTTP/1.1\r\nHost: other.example\r\n\r\n");
    EXPECT_EQ(statuses(), "200 ") << path;
    send("GET http://other.example" + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(statuses(), "200 ") << path;
    send(get(path, "other.example", "Origin: http://other.example\r\n"));
    EXPECT_EQ(statuses(), "403 ") << path << ": a page is not a health check";
  }
  for (const std::string path : {"/", "/v1/status", "/v1/topics", "/metrics/x"}) {
    send(get(path, "other.example"));
    EXPECT_EQ(statuses(), "403 ") << path;
  }
}

TEST_F(HttpSessionTest, RefusesPagesOfOtherOriginsUnlessConfigured) {
  const auto answer = [&](const std::string& origin) {
    Peer peer = connect();
    send(peer, post("/v1/topics/a", "x", "Origin: " + origin + "\r\n", "localhost:1601"));
    return peer.take();
  };
  for (const std::string origin : {"http://evil.example", "null", "http://localhost", "http://localhost:1602",
                                   "http://localhost:1601.evil.example", "file://"}) {
    EXPECT_THAT(answer(origin), StartsWith("HTTP/1.1 403 ")) << origin;
  }
  EXPECT_EQ(publisher_.state.offered, 0u);
  EXPECT_EQ(answer("http://localhost:1601"), "");  // the request waits for the broker
  EXPECT_EQ(answer("https://friend.example"), "");
  EXPECT_EQ(publisher_.state.offered, 2u);
  send(get("/healthz", "localhost", "Origin: https://friend.example\r\n"));
  EXPECT_THAT(take(), HasSubstr("\r\nAccess-Control-Allow-Origin: https://friend.example\r\n"));
  send(
      "OPTIONS /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nOrigin: https://friend.example\r\n"
      "Access-Control-Request-Method: POST\r\n\r\n");
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 204 "), HasSubstr("\r\nAllow: POST, OPTIONS\r\n"),
                            HasSubstr("\r\nAccess-Control-Allow-Methods: POST, OPTIONS\r\n")));
}

TEST_F(HttpSessionTest, ServesThePageWithETagAndCompression) {
  const web::Asset* const page = web::find_asset("/");
  ASSERT_NE(page, nullptr);
  send(get("/"));
  EXPECT_THAT(take(),
              AllOf(HasSubstr("\r\nContent-Security-Policy: default-src 'self'"), HasSubstr("nosniff"),
                    HasSubstr("\r\nCache-Control: no-cache\r\n"), EndsWith(std::string(page->body))));
  send(get("/", "localhost", "Accept-Encoding: br;q=1.0, gzip;q=0.8\r\n"));
  EXPECT_THAT(take(), AllOf(HasSubstr("\r\nContent-Encoding: gzip\r\n"), EndsWith(std::string(page->gzip))));
  send(get("/", "localhost", "Accept-Encoding: gzip;q=0\r\n"));
  EXPECT_THAT(take(), Not(HasSubstr("Content-Encoding")));
  send(get("/", "localhost", "If-None-Match: \"other\", " + std::string(page->etag) + "\r\n"));
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 304 "), EndsWith("\r\n\r\n")));
}

TEST_F(HttpSessionTest, TheTimeoutOfARequestRunsFromItsFirstByte) {
  for (const std::string begun :
       {"POS", "POST /v1/topics/a HT", "POST /v1/topics/a HTTP/1.1\r\nHost: x\r\n",
        "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"}) {
    Peer peer = connect();
    for (const char byte : begun) {
      send(peer, std::string(1, byte));
      now_ += 100ms;
      turn();
    }
    for (const auto time : {29'000ms, 100ms}) {
      now_ += time;
      turn();
    }
    if (begun.size() > 10) {
      EXPECT_EQ(peer.take().substr(0, 12), "HTTP/1.1 408");
      EXPECT_TRUE(peer.stream->output_ended);
    } else {
      EXPECT_EQ(peer.take(), "") << "the protocol is not known yet";
    }
  }
}

TEST_F(HttpSessionTest, AnIdleConnectionIsClosedWithoutAResponse) {
  send(get("/healthz"));
  take();
  now_ += 59s;
  turn();
  EXPECT_FALSE(peer_.stream->output_ended);
  now_ += 2s;
  turn();
  EXPECT_TRUE(peer_.stream->output_ended);
  EXPECT_EQ(take(), "");
}

TEST_F(HttpSessionTest, RespondsNoFurtherToAClientThatReadsNothing) {
  peer_.stream->room = 0;
  std::string many;
  for (int i = 0; i < 2000; ++i) many += get("/metrics");
  send(many);
  EXPECT_LT(pages_made_, 1000);
  read_all(peer_);
  turn();
  EXPECT_EQ(pages_made_, 2000);
}

TEST_F(HttpSessionTest, ClosesAfterTheEndOfInputWhenEveryRequestHasItsResponse) {
  come_up();
  send(post("/v1/topics/a", "x"));
  end_input(peer_);
  EXPECT_FALSE(peer_.stream->output_ended);
  admit_all();
  EXPECT_EQ(statuses(), "200 ");
  EXPECT_TRUE(peer_.stream->output_ended);
}

TEST_F(HttpSessionTest, BecomesAWebSocketThatReadsWhatFollowedTheRequest) {
  send(get("/v1/socket", "localhost",
           "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n") +
       std::string("\x81\x84\0\0\0\0PING", 10));
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 101 "), HasSubstr("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                            EndsWith("\r\n\r\n\x81\x05+PONG")));
}

constexpr const char* handshake_fields =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

TEST_F(HttpSessionTest, AWebSocketHandshakeMaySplitItsListsIntoSeveralLines) {
  send(get("/v1/socket", "localhost",
           "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
  EXPECT_THAT(take(), StartsWith("HTTP/1.1 101 "));
}

TEST_F(HttpSessionTest, AWebSocketForASubprotocolIsRefused) {
  send(get("/v1/socket", "localhost", std::string(handshake_fields) + "Sec-WebSocket-Protocol: mqtt\r\n"));
  EXPECT_THAT(take(), AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr(R"("code":"bad_upgrade")"),
                            HasSubstr(R"(no Sec-WebSocket-Protocol, got \"mqtt\")")));
}

TEST_F(HttpSessionTest, AWebSocketCanBeSubscribedByItsQuery) {
  come_up();
  send(get("/v1/socket?topic=stock.%3E&topic=news.uk&_=17", "localhost", handshake_fields) +
       std::string("\x81\x84\0\0\0\0PING", 10));
  prove();
  publish("stock.MSFT", "39.81");
  const std::string all = take();
  EXPECT_THAT(all, AllOf(StartsWith("HTTP/1.1 101 "), HasSubstr("+OK SUB stock.>"),
                         HasSubstr("+OK SUB news.uk"), HasSubstr("+PONG"), HasSubstr(R"("text":"39.81")"),
                         HasSubstr(R"(-ERR bad_option ignored "_=17": expected topic=,)")));
}

TEST_F(HttpSessionTest, AWebSocketWithAWrongQueryIsRefused) {
  const auto status = [&](const std::string& query) {
    Peer peer = connect();
    send(peer, get("/v1/socket?" + query, "localhost", handshake_fields));
    return peer.take().substr(9, 3);
  };
  EXPECT_EQ(status("topic=a..b"), "400");
  EXPECT_EQ(status("topic="), "400");
  EXPECT_EQ(status("topic=a&since=x"), "400");
  EXPECT_EQ(status("since=10m"), "400") << "no topic";
  EXPECT_EQ(status("topic=%zz"), "400");
  EXPECT_EQ(status(""), "101");
}

TEST_F(HttpSessionTest, CountsResponses) {
  send(get("/healthz") + get("/nothing") + "GET / HTTP/1.1\r\n\r\n");
  const Counted counted = site_.counters().read();
  EXPECT_EQ(counted.responses[1], 1u);
  EXPECT_EQ(counted.responses[3], 2u);
  EXPECT_EQ(counted.refused[static_cast<std::size_t>(Refusal::malformed)], 1u);
}

}  // namespace
}  // namespace backplane::gateway::http
