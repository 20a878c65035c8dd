#include "core/zmq/key_check.hpp"

#include <chrono>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/process/descriptor.hpp"
#include "core/zmq/mechanism.hpp"
#include "tests/core/zmq/zap_server.hpp"

namespace backplane::mq {
namespace {

using namespace std::chrono_literals;
using backplane::testing::client_keys;
using backplane::testing::curve_server;
using backplane::testing::CurveKeys;
using backplane::testing::ZapServer;
using Clock = std::chrono::steady_clock;

/// A server and a client that tries to connect, as a follower (SUB, DEALER) and a publisher (XPUB) do.
class KeyCheckTest : public ::testing::TestWithParam<zmq::socket_type> {
 protected:
  zmq::socket_type server_type() const {
    if (GetParam() == zmq::socket_type::dealer) return zmq::socket_type::router;
    return GetParam() == zmq::socket_type::sub ? zmq::socket_type::xpub : zmq::socket_type::xsub;
  }

  void serve(bool curve, const std::string& zap_status = "200") {
    zap_.emplace(server_context_, zap_status);
    SocketOptions options;
    if (curve) {
      options.curve_server = curve_server(broker_);
    } else {
      options.zmtp3_only = true;
    }
    server_.emplace(server_context_, server_type(), options);
    endpoint_ = server_->bind("tcp://127.0.0.1:0").value();
  }

  /// Connects, again and again as a publisher does if libzmq does not, for at most 2 s.
  /// @returns the text of the problem, "connected" or "none".
  std::string connect(const SharedKeys& keys) {
    KeyCheck check(keys, "broker");
    const auto end = Clock::now() + 2s;
    while (Clock::now() < end) {
      SocketOptions options;
      options.curve_client = curve_of(keys);
      options.reconnect_interval = -1ms;
      Socket client(client_context_, GetParam(), options);
      Monitor monitor(client_context_, client);
      EXPECT_TRUE(client.connect(endpoint_));
      for (bool ended = false; !ended && Clock::now() < end;) {
        switch (monitor.next()) {
          case ConnectionEvent::connected:
            check.on_connected();
            return "connected";
          case ConnectionEvent::disconnected:
            check.on_failure(monitor.failure(), endpoint_, Clock::now());
            ended = true;
            break;
          case ConnectionEvent::none: {
            zmq::pollitem_t item{monitor.socket().raw().handle(), 0, ZMQ_POLLIN, 0};
            zmq_poll(&item, 1, 50);
            break;
          }
          case ConnectionEvent::accepted:
          case ConnectionEvent::opened:
          case ConnectionEvent::other:
            break;
        }
      }
      if (check.problem() != KeyProblem::none) return check.text();
    }
    return "none";
  }

  CurveKeys broker_, me_;
  Context server_context_, client_context_;
  std::optional<ZapServer> zap_;
  std::optional<Socket> server_;
  std::string endpoint_;
};

TEST_P(KeyCheckTest, TheRightKeysConnect) {
  serve(true);
  EXPECT_EQ(connect(client_keys(me_, broker_)), "connected");
}

TEST_P(KeyCheckTest, AnotherServerKeyIsReported) {
  serve(true);
  EXPECT_EQ(connect(client_keys(me_, CurveKeys())), "broker: the broker's key is not the one in broker.pub");
}

TEST_P(KeyCheckTest, AKeyThatTheBrokerDoesNotAdmitIsReported) {
  serve(true, "400");
  EXPECT_EQ(
      connect(client_keys(me_, broker_)),
      "broker: the broker does not admit the key in me.key: its policy has no user with it, or the user "
      "may not connect to this endpoint");
}

TEST_P(KeyCheckTest, ABrokerThatCannotCheckKeysIsReported) {
  serve(true, "500");
  EXPECT_EQ(connect(client_keys(me_, broker_)), "broker: the broker cannot check keys now");
}

TEST_P(KeyCheckTest, ABrokerThatRequiresKeysIsReported) {
  serve(true);
  for (int attempt = 0; attempt < 10; ++attempt)  // libzmq sees either of two things
    ASSERT_EQ(connect(nullptr), "broker: the broker requires keys (--key, --server-key)");
}

TEST_P(KeyCheckTest, ABrokerWithoutKeysIsReported) {
  serve(false);
  for (int attempt = 0; attempt < 10; ++attempt)
    ASSERT_EQ(connect(client_keys(me_, broker_)), "broker: the broker uses no keys; connect without them");
}

INSTANTIATE_TEST_SUITE_P(Sockets, KeyCheckTest,
                         ::testing::Values(zmq::socket_type::sub, zmq::socket_type::dealer,
                                           zmq::socket_type::xpub),
                         [](const auto& about) {
                           return about.param == zmq::socket_type::sub      ? "Sub"
                                  : about.param == zmq::socket_type::dealer ? "Dealer"
                                                                            : "Xpub";
                         });

TEST(KeyCheck, OneHandshakeThatThePeerEndsSaysNothing) {
  Context context;
  const CurveKeys broker;
  SocketOptions options;
  options.curve_server = curve_server(broker);
  Socket server(context, zmq::socket_type::router, options);
  const std::string endpoint = server.bind("tcp://127.0.0.1:0").value();
  KeyCheck check(client_keys(CurveKeys(), broker), endpoint);
  const HandshakeFailure closed{HandshakeFailure::Kind::closed, 0};
  check.on_failure(closed, endpoint, Clock::now());
  EXPECT_EQ(check.problem(), KeyProblem::none);
  EXPECT_TRUE(check.is_undecided());
  check.on_failure(closed, endpoint, Clock::now());
  EXPECT_EQ(check.problem(), KeyProblem::wrong_server);
  EXPECT_FALSE(check.is_undecided());
  check.on_connected();
  EXPECT_EQ(check.text(), "");
}

TEST(KeyCheck, ABrokerThatHasGoneSaysNothingAboutKeys) {
  KeyCheck check(client_keys(CurveKeys(), CurveKeys()), "broker");
  for (int i = 0; i < 5; ++i)
    check.on_failure({HandshakeFailure::Kind::closed, 0}, "ipc:///none", Clock::now() + i * 10s);
  EXPECT_EQ(check.problem(), KeyProblem::none);
}

TEST(ServerMechanism, IsReadFromTheGreeting) {
  Context context;
  const CurveKeys broker;
  for (const bool curve : {true, false}) {
    SocketOptions options;
    if (curve) options.curve_server = curve_server(broker);
    Socket server(context, zmq::socket_type::xpub, options);
    const std::string tcp = server.bind("tcp://127.0.0.1:0").value();
    const std::string ipc =
        server.bind(fmt::format("ipc:///tmp/backplane-mechanism-{}-{}", ::getpid(), curve)).value();
    for (const std::string& endpoint : {tcp, ipc})
      EXPECT_EQ(server_mechanism(endpoint, 5s), curve ? Mechanism::curve : Mechanism::null) << endpoint;
  }
}

TEST(ServerMechanism, IsUnknownWithoutAServer) {
  for (const char* const endpoint : {"tcp://127.0.0.1:1", "ipc:///none", "inproc://none",
                                     "tcp://no-address:5571", "tcp://", "ipc://", ""}) {
    EXPECT_EQ(server_mechanism(endpoint, 5s), Mechanism::unknown) << endpoint;
  }
}

TEST(ServerMechanism, OfASilentListenerIsUnknownAtTheLimit) {
  const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const auto begun = Clock::now();
  EXPECT_EQ(server_mechanism(fmt::format("tcp://127.0.0.1:{}", ntohs(address.sin_port)), 50ms),
            Mechanism::unknown);
  EXPECT_GE(Clock::now() - begun, 50ms);
}

TEST(MechanismIn, NeedsACompleteGreeting) {
  std::string greeting = std::string("\xff\0\0\0\0\0\0\0\0\x7f\x03\x01", 12) + "CURVE";
  greeting.resize(64);
  EXPECT_EQ(mechanism_in(greeting), Mechanism::curve);
  EXPECT_EQ(mechanism_in(greeting.substr(0, 63)), Mechanism::unknown);
  EXPECT_EQ(mechanism_in(""), Mechanism::unknown);
  greeting[9] = 'x';
  EXPECT_EQ(mechanism_in(greeting), Mechanism::unknown);
}

}  // namespace
}  // namespace backplane::mq
