// The connections of a listening socket, with real ones.

#include "broker/ingress/connection_watch.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <limits>
#include <string>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "core/net/host_port.hpp"
#include "core/process/descriptor.hpp"

namespace backplane::broker {
namespace {

class ConnectionWatchTest : public ::testing::Test {
 protected:
  void bind() {
    endpoint_ = socket_.bind("tcp://127.0.0.1:*").value();
    address_.sin_family = AF_INET;
    address_.sin_port =
        htons(parse_host_port(endpoint_.substr(std::string("tcp://").size()), "test").value().port);
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  [[nodiscard]] Descriptor connect() const {
    Descriptor connection(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_), 0);
    return connection;
  }
  /// Lets `watch` take turns until the condition holds.
  template <class Condition>
  static void turn_until(ConnectionWatch& watch, Condition condition) {
    const auto limit = Clock::now() + std::chrono::seconds{60};
    while (!condition()) {
      ASSERT_LT(Clock::now(), limit);
      watch.turn(Clock::now());
    }
  }
  /// Whether the other side has closed it, within some time.
  [[nodiscard]] static bool is_closed(const Descriptor& connection) {
    pollfd poll{connection.get(), POLLIN, 0};
    const auto limit = Clock::now() + std::chrono::seconds{60};
    std::array<char, 128> bytes{};
    while (Clock::now() < limit) {
      ::poll(&poll, 1, 100);
      const ssize_t got = ::recv(connection.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno == ECONNRESET)) return true;
    }
    return false;
  }

  using Clock = std::chrono::steady_clock;
  mq::Context context_;
  mq::Socket socket_{context_, zmq::socket_type::router, {}};
  std::string endpoint_;
  sockaddr_in address_{};
};

TEST_F(ConnectionWatchTest, HandlesAMassOfConnectionsInSeveralTurns) {
  ConnectionWatch watch(context_, socket_, std::numeric_limits<int>::max());
  bind();
  constexpr std::uint64_t count = 100;
  for (std::uint64_t i = 0; i < count; ++i) (void)connect();
  const auto limit = Clock::now() + std::chrono::seconds{60};
  constexpr int events_max = 10;
  int turns_with_more = 0;
  while (watch.failed_handshakes() < count) {
    ASSERT_LT(Clock::now(), limit);
    const std::uint64_t before = watch.failed_handshakes();
    turns_with_more += watch.turn(Clock::now(), events_max) ? 1 : 0;
    EXPECT_LE(watch.failed_handshakes(), before + events_max);
  }
  EXPECT_GT(turns_with_more, 0) << "the caller must not wait for a second";
  EXPECT_FALSE(watch.turn(Clock::now()));
}

TEST_F(ConnectionWatchTest, ClosesConnectionsWhoseDescriptorsTheProgramNeeds) {
  ConnectionWatch watch(context_, socket_, /*descriptors_max=*/0);
  bind();
  const Descriptor first = connect();
  const Descriptor second = connect();
  turn_until(watch, [&] { return watch.refused() == 2; });
  EXPECT_TRUE(is_closed(first));
  EXPECT_TRUE(is_closed(second));
  EXPECT_EQ(watch.failed_handshakes(), 0u) << "counted once";
}

TEST_F(ConnectionWatchTest, DoesNotCountPeersThatCompleteTheirHandshake) {
  ConnectionWatch watch(context_, socket_, std::numeric_limits<int>::max());
  bind();
  {
    zmq::socket_t peer(context_.raw(), zmq::socket_type::dealer);
    peer.set(zmq::sockopt::linger, 0);
    peer.connect(endpoint_);
    zmq::message_t message(std::string_view("hello"));
    ASSERT_TRUE(peer.send(message, zmq::send_flags::none));
    zmq::message_t received;
    turn_until(watch, [&] { return socket_.receive(received); });
  }
  (void)connect();
  turn_until(watch, [&] { return watch.failed_handshakes() == 1; });
  EXPECT_EQ(watch.refused(), 0u);
}

TEST_F(ConnectionWatchTest, ReportsConnectionsThatHaveClosed) {
  struct Observer final : ConnectionObserver {
    void closed(int) override { ++count; }
    int count{};
  } observer;
  ConnectionWatch watch(context_, socket_, std::numeric_limits<int>::max());
  watch.report_closed_to(observer);
  bind();
  Descriptor stays = connect();
  for (int i = 0; i < 3; ++i) (void)connect();
  turn_until(watch, [&] { return observer.count == 3; });
  stays = Descriptor{};
  turn_until(watch, [&] { return observer.count == 4; });
}

}  // namespace
}  // namespace backplane::broker
