// The connections of a listening socket, with real ones.

#include "broker/ingress/connection_watch.hpp"

#include <chrono>
#include <limits>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/net/host_port.hpp"
#include "core/process/descriptor.hpp"

namespace backplane::broker {
namespace {

TEST(ConnectionWatch, HandlesAMassOfConnectionsInSeveralTurns) {
  mq::Context context;
  mq::Socket socket(context, zmq::socket_type::router, {});
  ConnectionWatch watch(context, socket, std::numeric_limits<int>::max());
  const std::string endpoint = socket.bind("tcp://127.0.0.1:*").value();
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port =
      htons(parse_host_port(endpoint.substr(std::string("tcp://").size()), "test").value().port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  constexpr std::uint64_t count = 100;
  for (std::uint64_t i = 0; i < count; ++i) {
    const Descriptor connection(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds{60};
  constexpr int events_max = 10;
  while (watch.failed_handshakes() < count) {
    const auto now = std::chrono::steady_clock::now();
    ASSERT_LT(now, limit);
    const std::uint64_t before = watch.failed_handshakes();
    watch.turn(now, events_max);
    EXPECT_LE(watch.failed_handshakes(), before + events_max);
  }
  EXPECT_FALSE(watch.turn(std::chrono::steady_clock::now()));
}

}  // namespace
}  // namespace backplane::broker
