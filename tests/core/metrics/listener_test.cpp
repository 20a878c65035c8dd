#include "core/metrics/listener.hpp"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace backplane::metrics {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

/// A TCP client without HTTP. Its reads wait at most 5 s.
class Client {
 public:
  explicit Client(const std::string& address) {
    const std::size_t colon = address.rfind(':');
    std::string host = address.substr(0, colon);
    if (host.starts_with("[")) host = host.substr(1, host.size() - 2);
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    EXPECT_EQ(::getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found), 0);
    fd_ = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval wait{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    EXPECT_EQ(::connect(fd_, found->ai_addr, found->ai_addrlen), 0) << address;
    ::freeaddrinfo(found);
  }
  Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Client& operator=(Client&&) = delete;
  ~Client() {
    if (fd_ >= 0) ::close(fd_);
  }

  void send(std::string_view bytes) const {
    EXPECT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  /// Everything up to `end`, or until the connection is closed.
  [[nodiscard]] std::string read_to(std::string_view end) const {
    std::string text;
    char c = 0;
    while (!text.ends_with(end) && ::recv(fd_, &c, 1, 0) == 1) text += c;
    return text;
  }
  [[nodiscard]] std::string read_all() const {
    std::string text;
    char bytes[4096];
    for (ssize_t got = 0; (got = ::recv(fd_, bytes, sizeof bytes, 0)) > 0;) {
      text.append(bytes, static_cast<std::size_t>(got));
    }
    return text;
  }
  /// Waits until the other side has closed. @returns whether it has.
  [[nodiscard]] bool is_closed() const {
    char c = 0;
    const ssize_t got = ::recv(fd_, &c, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
  }
  [[nodiscard]] bool ends_without_reset() const {
    char c = 0;
    return ::recv(fd_, &c, 1, 0) == 0;
  }

 private:
  int fd_{-1};
};

class Listener : public testing::Test {
 protected:
  std::unique_ptr<MetricsListener> open(const std::string& address = "127.0.0.1:0",
                                        MetricsListener::Limits limits = {}) {
    auto opened = MetricsListener::open(address,
                                        {.metrics = [this] { return metrics_(); },
                                         .why_not_ready = [this] { return ready_ ? "" : "draining"; }},
                                        limits);
    EXPECT_TRUE(opened) << opened.error().text;
    return std::move(*opened);
  }
  static std::string get(const MetricsListener& listener, const std::string& path) {
    const Client client(listener.address());
    client.send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return client.read_all();
  }

  std::function<std::string()> metrics_ = [] { return "x 1\n"; };
  std::atomic<bool> ready_{true};
};

TEST_F(Listener, ServesTheMetricsWithTheirType) {
  const auto listener = open();
  const std::string answer = get(*listener, "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\nx 1\n")) << answer;
}

TEST_F(Listener, IsHealthyWhileItServes) {
  const auto listener = open();
  ready_ = false;
  EXPECT_THAT(get(*listener, "/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(Listener, SaysWhetherItIsReadyAndWhyNot) {
  const auto listener = open();
  EXPECT_THAT(get(*listener, "/readyz"), StartsWith("HTTP/1.1 200 OK\r\n"));
  ready_ = false;
  const std::string answer = get(*listener, "/readyz");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(answer, HasSubstr("draining\n"));
}

TEST_F(Listener, IgnoresAQuery) {
  const auto listener = open();
  EXPECT_THAT(get(*listener, "/metrics?name[]=x"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(Listener, RespondsWhateverHostTheRequestIsAddressedTo) {
  const auto listener = open();
  for (const std::string request : {"GET /healthz HTTP/1.1\r\nHost: broker.monitoring.svc:9570\r\n\r\n",
                                    "GET http://broker.svc/healthz?x HTTP/1.1\r\nHost: broker.svc\r\n\r\n",
                                    "GET /healthz HTTP/1.0\r\n\r\n"}) {
    const Client client(listener->address());
    client.send(request);
    EXPECT_THAT(client.read_to("ok\n"), StartsWith("HTTP/1.1 200 OK")) << request;
  }
  const Client client(listener->address());
  client.send("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
  EXPECT_THAT(client.read_to("several\n"), StartsWith("HTTP/1.1 400 "));
}

TEST_F(Listener, SeveralConnectionFieldsAreOneList) {
  const auto listener = open();
  const Client client(listener->address());
  client.send("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.read_all(), HasSubstr("\r\nConnection: close\r\n"));
}

TEST_F(Listener, OtherPathsAreNotFound) {
  const auto listener = open();
  for (const char* path : {"/", "/metric", "/metrics/", "/../etc/passwd"}) {
    EXPECT_THAT(get(*listener, path), StartsWith("HTTP/1.1 404 Not Found\r\n")) << path;
  }
}

TEST_F(Listener, RespondsToHeadWithTheLengthOnly) {
  const auto listener = open();
  const Client client(listener->address());
  client.send("HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answer = client.read_all();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 4\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\n")) << answer;
}

TEST_F(Listener, OtherMethodsAreRefused) {
  const auto listener = open();
  const Client client(listener->address());
  client.send("DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answer = client.read_all();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 Method Not Allowed\r\n"));
  EXPECT_THAT(answer, HasSubstr("Allow: GET, HEAD\r\n"));
}

TEST_F(Listener, RespondsToManyRequestsOnOneConnection) {
  const auto listener = open();
  const Client client(listener->address());
  for (int i = 0; i < 3; ++i) {
    client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.read_to("ok\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
  }
}

TEST_F(Listener, RespondsToRequestsThatArriveTogether) {
  const auto listener = open();
  const Client client(listener->address());
  client.send(
      "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\nConnection: "
      "close\r\n\r\n");
  const std::string answers = client.read_all();
  EXPECT_THAT(answers, HasSubstr("ok\n"));
  EXPECT_TRUE(answers.ends_with("x 1\n")) << answers;
}

TEST_F(Listener, RefusesWhatIsNotHttp) {
  const auto listener = open();
  const Client client(listener->address());
  client.send("\x16\x03\x01 hello\r\n\r\n");
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 400 Bad Request\r\n"));
}

TEST_F(Listener, RefusesAHeaderWithoutEnd) {
  const auto listener = open();
  const Client client(listener->address());
  client.send("GET /metrics HTTP/1.1\r\nX: " + std::string(20'000, 'x'));
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 431 "));
}

TEST_F(Listener, RefusesACompleteHeaderAboveTheLimit) {
  const auto listener =
      open("127.0.0.1:0", {.connections_max = 8, .idle_max = 10s, .header_bytes_max = 1024});
  const auto ask = [&](std::size_t bytes) {
    const Client client(listener->address());
    client.send("GET /healthz HTTP/1.1\r\nConnection: close\r\nX: " + std::string(bytes, 'x') + "\r\n\r\n");
    return client.read_all();
  };
  EXPECT_THAT(ask(900), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(ask(1500), StartsWith("HTTP/1.1 431 "));
}

TEST_F(Listener, ARefusedClientCanReadTheReasonWhileItIsStillSending) {
  const auto listener = open();
  const Client client(listener->address());
  client.send("GET /metrics HTTP/1.1\r\nX: " + std::string(20'000, 'x'));
  EXPECT_THAT(client.read_to("got more\n"), StartsWith("HTTP/1.1 431 "));
  client.send(std::string(1000, 'x'));
  EXPECT_TRUE(client.ends_without_reset());
}

TEST_F(Listener, RefusesABody) {
  const auto listener = open();
  const Client client(listener->address());
  client.send("GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc");
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 413 "));
}

TEST_F(Listener, ClosesASilentConnection) {
  const auto listener =
      open("127.0.0.1:0", {.connections_max = 8, .idle_max = 50ms, .header_bytes_max = 1024});
  const Client silent(listener->address());
  EXPECT_TRUE(silent.is_closed());
}

TEST_F(Listener, ClosesAConnectionThatNeverCompletesARequest) {
  const auto listener =
      open("127.0.0.1:0", {.connections_max = 8, .idle_max = 50ms, .header_bytes_max = 1024});
  const Client slow(listener->address());
  slow.send("GET /metr");
  EXPECT_TRUE(slow.is_closed());
}

TEST_F(Listener, RespondsDespiteMoreSilentConnectionsThanItsLimit) {
  const auto listener =
      open("127.0.0.1:0", {.connections_max = 16, .idle_max = 60s, .header_bytes_max = 1024});
  std::vector<Client> silent;
  for (int i = 0; i < 500; ++i) silent.emplace_back(listener->address());
  EXPECT_THAT(get(*listener, "/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
  // The oldest connections were closed.
  for (std::size_t i = 0; i < 400; ++i) ASSERT_TRUE(silent[i].is_closed()) << i;
}

TEST_F(Listener, ACallbackThatThrowsGivesA500AndServingContinues) {
  metrics_ = []() -> std::string { throw std::runtime_error("no figures"); };
  const auto listener = open();
  EXPECT_THAT(get(*listener, "/metrics"), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(get(*listener, "/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(Listener, ServesIPv6) {
  const auto listener = open("[::1]:0");
  EXPECT_THAT(listener->address(), StartsWith("[::1]:"));
  EXPECT_THAT(get(*listener, "/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(Listener, NamesTheAddressThatIsInUse) {
  const auto listener = open();
  const auto second = MetricsListener::open(listener->address(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().text, "cannot listen on " + listener->address() + ": Address already in use");
}

TEST_F(Listener, RequiresAHostAndAPort) {
  for (const char* address : {"", "127.0.0.1", ":9570", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
                              "::1:9570", "127.0.0.1:-1"}) {
    const auto opened = MetricsListener::open(address, {});
    ASSERT_FALSE(opened) << address;
    EXPECT_THAT(opened.error().text, HasSubstr("HOST:PORT")) << address;
  }
}

TEST_F(Listener, StopsAtOnceWithConnectionsOpen) {
  auto listener = open();
  const Client silent(listener->address());
  const Client half(listener->address());
  half.send("GET /met");
  const auto before = std::chrono::steady_clock::now();
  listener.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - before, 1s);  // 100 ms, and a margin for a loaded machine
  EXPECT_TRUE(silent.is_closed());
  EXPECT_TRUE(half.is_closed());
}

}  // namespace
}  // namespace backplane::metrics
