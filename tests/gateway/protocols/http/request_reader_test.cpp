#include "gateway/protocols/http/request_reader.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace backplane::gateway::http {
namespace {

using State = RequestReader::State;

constexpr RequestReader::Limits limits{.header_bytes_max = 1000, .body_bytes_max = 100};

struct Read {
  std::vector<Request> requests;
  std::optional<Fault> fault;
};

Read read(std::string_view bytes, std::size_t piece = 1'000'000) {
  RequestReader reader(limits);
  Read result;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    reader.add(bytes.substr(0, piece));
    State state = reader.read();
    for (; state == State::whole; state = reader.read()) result.requests.push_back(reader.take());
    if (state != State::bad) continue;
    result.fault = reader.fault();
    break;
  }
  return result;
}

/// The status of the refusal; 0: the request was accepted.
int refused(const std::string& bytes) {
  const Read all = read(bytes);
  const Read byte_by_byte = read(bytes, 1);
  EXPECT_EQ(all.requests.size(), byte_by_byte.requests.size());
  EXPECT_EQ(all.fault.has_value(), byte_by_byte.fault.has_value());
  if (all.fault && byte_by_byte.fault) {
    EXPECT_EQ(all.fault->status, byte_by_byte.fault->status);
  }
  return all.fault ? all.fault->status : 0;
}

std::string with(const std::string& fields, const std::string& body = "") {
  return "POST /v1/topics/a HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n" + body;
}

TEST(HttpRequestReader, ReadsRequestsInPiecesOfAnySize) {
  const std::string bytes =
      "GET /v1/events?topic=stock.>&last HTTP/1.1\r\nHost: localhost:1601\r\nLast-Event-ID:  a:1 \r\n\r\n" +
      with("Content-Length: 5\r\n", "Hello") +
      with("Transfer-Encoding: Chunked\r\n", "3\r\nHel\r\n2;x=y\r\nlo\r\n0\r\n\r\n") +
      "\r\nHEAD http://example.org/x HTTP/1.0\r\n\r\n";
  for (const std::size_t piece : {1u, 7u, 1000u}) {
    const Read all = read(bytes, piece);
    ASSERT_FALSE(all.fault) << all.fault->detail;
    ASSERT_EQ(all.requests.size(), 4u);
    EXPECT_EQ(all.requests[0].method, "GET");
    EXPECT_EQ(all.requests[0].path, "/v1/events");
    EXPECT_EQ(all.requests[0].query, "topic=stock.>&last");
    EXPECT_EQ(all.requests[0].host, "localhost:1601");
    EXPECT_EQ(all.requests[0].field("last-event-id"), "a:1");
    EXPECT_TRUE(all.requests[0].keep_alive);
    EXPECT_EQ(all.requests[1].body, "Hello");
    EXPECT_EQ(all.requests[2].body, "Hello");
    EXPECT_EQ(all.requests[3].path, "/x");
    EXPECT_EQ(all.requests[3].host, "example.org");
    EXPECT_TRUE(all.requests[3].http_1_0);
    EXPECT_FALSE(all.requests[3].keep_alive);
  }
}

TEST(HttpRequestReader, RefusesWhatTwoReadersMightInterpretDifferently) {
  EXPECT_EQ(refused(with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")), 400);
  EXPECT_EQ(refused(with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")), 400);
  EXPECT_EQ(refused(with("Content-Length: 5\r\nContent-Length: 5\r\n", "Hello")), 400);
  EXPECT_EQ(refused(with("Content-Length: 5, 5\r\n", "Hello")), 400);
  EXPECT_EQ(refused(with("Content-Length: +5\r\n", "Hello")), 400);
  EXPECT_EQ(refused(with("Content-Length: 0x5\r\n", "Hello")), 400);
  EXPECT_EQ(refused(with("Content-Length: -1\r\n")), 400);
  EXPECT_EQ(refused(with("Content-Length: 99999999999999999999999\r\n")), 400);
  EXPECT_EQ(refused(with("Content-Length:\r\n")), 400);
  EXPECT_EQ(refused(with("Content-Length : 5\r\n", "Hello")), 400);
  EXPECT_EQ(refused(with(" Content-Length: 5\r\n", "Hello")), 400);
  EXPECT_EQ(refused(with("X: a\r\n b\r\n")), 400);
  EXPECT_EQ(refused(with("X: a\r\n\tb\r\n")), 400);
  EXPECT_EQ(refused(with("X: a\nY: b\r\n")), 400);
  EXPECT_EQ(refused(with("X: a\rY: b\r\n")), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\nHost: x\n\n"), 400);
  EXPECT_EQ(refused(with(std::string("X: a\0b\r\n", 8))), 400);
  EXPECT_EQ(refused(with(": x\r\n")), 400);
  EXPECT_EQ(refused(with("no colon\r\n")), 400);
  EXPECT_EQ(refused(with("Transfer-Encoding: gzip\r\n")), 501);
  EXPECT_EQ(refused(with("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")), 501);
  EXPECT_EQ(refused(with("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")), 501);
  EXPECT_EQ(refused(with("Transfer-Encoding: xchunked\r\n")), 501);
  EXPECT_EQ(refused(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")), 400);
  EXPECT_EQ(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
}

TEST(HttpRequestReader, SeveralLinesOfAListAreOneList) {
  // RFC 9110, 5.3.
  const Read all = read(with("Connection: keep-alive\r\nUpgrade: a\r\nConnection: close\r\nupgrade: b\r\n") +
                        "GET / HTTP/1.0\r\nConnection: x\r\nConnection: Keep-Alive\r\n\r\n" +
                        with("Accept-Encoding: br\r\nAccept-Encoding: \r\nAccept-Encoding: gzip\r\n") +
                        with("Expect: 100-continue\r\nExpect: 100-continue\r\n") + with("X: 1\r\nX: 2\r\n") +
                        with("Cookie: a=1\r\nCookie: b=2\r\n"));
  ASSERT_FALSE(all.fault) << all.fault->detail;
  ASSERT_EQ(all.requests.size(), 6u);
  EXPECT_EQ(all.requests[0].field("connection"), "keep-alive, close");
  EXPECT_EQ(all.requests[0].field("upgrade"), "a, b");
  EXPECT_FALSE(all.requests[0].keep_alive);
  EXPECT_TRUE(all.requests[1].keep_alive);
  EXPECT_EQ(all.requests[2].field("accept-encoding"), "br, gzip");
  EXPECT_EQ(all.requests[4].field("x"), "1, 2");
  EXPECT_EQ(all.requests[5].field("cookie"), "a=1; b=2");
  EXPECT_EQ(refused(with("Expect: 100-continue\r\nExpect: x\r\n")), 417);
}

TEST(HttpRequestReader, RefusesASingleFieldThatOccursTwice) {
  for (const std::string name :
       {"Authorization", "Content-Type", "Last-Event-ID", "Origin", "Referer", "Sec-WebSocket-Key",
        "Sec-WebSocket-Version", "User-Agent", "Access-Control-Request-Method"}) {
    EXPECT_EQ(refused(with(name + ": x\r\n")), 0) << name;
    EXPECT_EQ(refused(with(name + ": x\r\n" + name + ": x\r\n")), 400) << name;
    EXPECT_EQ(refused(with(name + ": x\r\nY: z\r\n" + name + ":\r\n")), 400) << name;
  }
}

TEST(HttpRequestReader, ReadsTheLastChunkByteByByte) {
  // Beast's parser aborts if it gets the last chunk in these pieces without a chunk before it.
  for (const std::string chunks : {"0\r\n\r\n", "00\r\n\r\n", "0;x\r\n\r\n", "0\r\nX: y\r\n\r\n"}) {
    const Read all = read(with("Transfer-Encoding: chunked\r\n", chunks) + "GET / HTTP/1.0\r\n\r\n", 1);
    ASSERT_FALSE(all.fault) << all.fault->detail;
    ASSERT_EQ(all.requests.size(), 2u) << chunks;
    EXPECT_EQ(all.requests[0].body, "");
  }
  for (const std::string bad : {"0\rx", "0x\r\n\r\n", "0\r\nno colon\r\n\r\n"}) {
    EXPECT_EQ(refused(with("Transfer-Encoding: chunked\r\n", bad + "\r\n\r\n")), 400) << bad;
  }
}

TEST(HttpRequestReader, RefusesMalformedChunks) {
  for (const std::string chunks :
       {"x\r\n", "-1\r\nHello", "5 5\r\nHello\r\n", "0x5\r\nHello\r\n", "5\r\nHelloo\r\n", "5\nHello\n0\n\n",
        "\r\n\r\n", "ffffffffffffffffff\r\n", "5;\n\r\nHello\r\n"}) {
    EXPECT_EQ(refused(with("Transfer-Encoding: chunked\r\n", chunks + "\r\n\r\n")), 400) << chunks;
  }
  EXPECT_EQ(refused(with("Transfer-Encoding: chunked\r\n", "5;" + std::string(2000, 'x'))), 400);
  // Also if it arrives at once and has an end.
  const auto chunk = [](std::size_t extension) {
    return "5;" + std::string(extension, 'x') + "\r\nHello\r\n0\r\n\r\n";
  };
  EXPECT_EQ(refused(with("Transfer-Encoding: chunked\r\n", chunk(2000))), 400);
  EXPECT_EQ(refused(with("Transfer-Encoding: chunked\r\n", chunk(900))), 0);
  EXPECT_EQ(refused(with("Transfer-Encoding: chunked\r\n", "0\r\nX: " + std::string(2000, 'x') + "\r\n\r\n")),
            400);
}

TEST(HttpRequestReader, SkipsOneEmptyLineBeforeARequest) {
  const std::string request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(refused("\r\n" + request + "\r\n" + request), 0);
  EXPECT_EQ(refused("\r\n\r\n" + request), 400) << "in pieces of any size";
  EXPECT_EQ(refused(request + "\r\n\r\n" + request), 400);
}

TEST(HttpRequestReader, EnforcesItsLimits) {
  EXPECT_EQ(refused("GET /" + std::string(2000, 'x')), 414);
  std::string head = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
  head.resize(limits.header_bytes_max, 'x');
  EXPECT_EQ(refused(head + "\n\r\n\r\n"), 431) << "bytes after the limit are not read";
  head.replace(head.size() - 4, 4, "\r\n\r\n");
  EXPECT_EQ(refused(head), 0);
  EXPECT_EQ(refused(with("X: " + std::string(2000, 'x') + "\r\n")), 431);
  EXPECT_EQ(refused(with("X: " + std::string(2000, 'x'))), 431);
  EXPECT_EQ(refused(with("X: " + std::string(900, 'x') + "\r\n")), 0);
  EXPECT_EQ(refused(with("Content-Length: 101\r\n")), 413);
  EXPECT_EQ(refused(with("Content-Length: 100\r\n", std::string(100, 'x'))), 0);
  EXPECT_EQ(refused(with("Transfer-Encoding: chunked\r\n", "32\r\n" + std::string(50, 'x') + "\r\n40\r\n")),
            413);
}

TEST(HttpRequestReader, RequiresOneHostAndAValidTarget) {
  EXPECT_EQ(refused("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.0\r\n\r\n"), 0);
  EXPECT_EQ(refused("GET x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
  EXPECT_EQ(refused("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(refused("GET / http/1.1\r\nHost: a\r\n\r\n"), 400);
}

TEST(HttpRequestReader, ReportsWhetherTheClientWaitsToSendItsBody) {
  RequestReader reader(limits);
  reader.add(with("Expect: 100-continue\r\nContent-Length: 5\r\n"));
  EXPECT_EQ(reader.read(), State::reading);
  EXPECT_TRUE(reader.take_continue());
  EXPECT_FALSE(reader.take_continue());
  reader.add("Hello");
  EXPECT_EQ(reader.read(), State::whole);
  EXPECT_EQ(reader.take().body, "Hello");
  EXPECT_EQ(refused(with("Expect: miracles\r\n")), 417);
  EXPECT_EQ(refused(with("Expect: 100-continue\r\nContent-Length: 500\r\n")), 413);
}

TEST(HttpRequestReader, ReadsNothingAfterAFault) {
  RequestReader reader(limits);
  reader.add("GET / HTTP/9.9\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(reader.read(), State::bad);
  reader.add("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(reader.read(), State::bad);
}

}  // namespace
}  // namespace backplane::gateway::http
