#include "core/zmq/socket.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace backplane::mq {
namespace {

using testing::EndsWith;
using testing::Not;
using testing::StartsWith;

/// Whether this machine can bind to its IPv6 loopback.
bool has_ipv6() {
  const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const bool bound = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return bound;
}

TEST(Socket, ReturnsTheBoundAddressWithTheRealPort) {
  Context context;
  Socket socket(context, zmq::socket_type::pub, {});
  const auto endpoint = socket.bind("tcp://127.0.0.1:0");
  ASSERT_TRUE(endpoint.has_value());
  EXPECT_THAT(*endpoint, StartsWith("tcp://127.0.0.1:")) << "and not IPv6's way to say it";
  EXPECT_THAT(*endpoint, Not(EndsWith(":0")));
}

/// Sends SIGUSR1, whose handler does nothing, to the thread that constructed it, as fast as it can.
class SignalStorm {
 public:
  SignalStorm() {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // without SA_RESTART
    ::sigaction(SIGUSR1, &action, &previous_);
    sender_ = std::thread([this, target = ::pthread_self()] {
      while (!stop_) ::pthread_kill(target, SIGUSR1);
    });
  }
  ~SignalStorm() {
    stop_ = true;
    sender_.join();
    ::sigaction(SIGUSR1, &previous_, nullptr);
  }
  SignalStorm(const SignalStorm&) = delete;
  SignalStorm& operator=(const SignalStorm&) = delete;

 private:
  struct sigaction previous_ {};
  std::atomic<bool> stop_{false};
  std::thread sender_;
};

TEST(Socket, SignalsInterruptNoCall) {
  Context context;
  const SignalStorm storm;
  for (int round = 0; round < 1000; ++round) {
    Socket server(context, zmq::socket_type::pull, {});
    const auto bound = server.bind("tcp://127.0.0.1:0");
    ASSERT_TRUE(bound.has_value()) << bound.error().text;
    Socket client(context, zmq::socket_type::push, {});
    Monitor monitor(context, client);
    const auto connected = client.connect(*bound);
    ASSERT_TRUE(connected.has_value()) << connected.error().text;
    ASSERT_TRUE(client.send("event"));
    zmq::message_t frame;
    for (int call = 0; call < 100; ++call) {
      (void)server.readable();
      (void)client.readable();
      (void)monitor.next();
      (void)server.receive(frame);
    }
    client.disconnect(*bound);
    int again = 0;
    do again = zmq_disconnect(client.raw().handle(), bound->c_str());
    while (again != 0 && zmq_errno() == EINTR);
    ASSERT_NE(again, 0) << "disconnect() did nothing";
  }
}

TEST(Socket, AQueueIsFullOnlyIfThePeerHasNotRead) {
  Context context;
  SocketOptions few;
  few.send_hwm = 4;
  few.receive_hwm = 4;
  Socket router(context, zmq::socket_type::router, few);
  ASSERT_TRUE(router.bind("inproc://replies"));
  Socket dealer(context, zmq::socket_type::dealer, few);
  ASSERT_TRUE(dealer.connect("inproc://replies"));
  ASSERT_TRUE(dealer.send("request"));
  zmq::message_t address;
  ASSERT_TRUE(router.receive(address));
  router.skip_rest(address);
  constexpr auto now = zmq::send_flags::dontwait;
  zmq::message_t reply;
  for (int sent = 0; sent < 10'000; ++sent) {
    ASSERT_TRUE(router.send(address.to_string_view(), now | zmq::send_flags::sndmore)) << "reply " << sent;
    ASSERT_TRUE(router.send("reply", now));
    ASSERT_TRUE(dealer.receive(reply));
  }
  for (int sent = 0; sent < 8; ++sent) {
    ASSERT_TRUE(router.send(address.to_string_view(), now | zmq::send_flags::sndmore)) << "reply " << sent;
    ASSERT_TRUE(router.send("reply", now));
  }
  EXPECT_FALSE(router.send(address.to_string_view(), now | zmq::send_flags::sndmore));
}

TEST(Socket, LocalhostIsBothLoopbackAddresses) {
  Context context;
  for (const std::string name : {"localhost", "LOCALHOST"}) {
    Socket server(context, zmq::socket_type::pull, {});
    const auto bound = server.bind("tcp://" + name + ":0");
    ASSERT_TRUE(bound.has_value()) << bound.error().text;
    ASSERT_THAT(*bound, StartsWith("tcp://127.0.0.1:"));
    const std::string port = bound->substr(bound->rfind(':'));
    std::vector<std::string> endpoints{*bound};
    if (has_ipv6()) endpoints.push_back("tcp://[::1]" + port);
    for (const std::string& endpoint : endpoints) {
      Socket client(context, zmq::socket_type::push, {});
      ASSERT_TRUE(client.connect(endpoint));
      ASSERT_TRUE(client.send(endpoint));
      zmq::pollitem_t item{server.raw().handle(), 0, ZMQ_POLLIN, 0};
      zmq::poll(&item, 1, std::chrono::milliseconds{60'000});
      zmq::message_t frame;
      ASSERT_TRUE(server.receive(frame)) << endpoint;
      EXPECT_EQ(frame.to_string(), endpoint);
    }
  }
}

TEST(Socket, APortThatIsTakenOnOneLoopbackAddressIsAnError) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no IPv6";
  Context context;
  Socket first(context, zmq::socket_type::pub, {});
  const std::string taken = first.bind("tcp://[::1]:0").value();
  Socket second(context, zmq::socket_type::pub, {});
  const auto bound = second.bind("tcp://localhost" + taken.substr(taken.rfind(':')));
  ASSERT_FALSE(bound.has_value());
  EXPECT_EQ(bound.error().text, "cannot listen on " + taken + ": Address already in use");
}

TEST(Socket, AnAddressInUseIsNamed) {
  Context context;
  Socket first(context, zmq::socket_type::pub, {});
  const std::string endpoint = first.bind("tcp://127.0.0.1:0").value();
  Socket second(context, zmq::socket_type::pub, {});
  const auto taken = second.bind(endpoint);
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().code, ErrorCode::unavailable);
  EXPECT_EQ(taken.error().text, "cannot listen on " + endpoint + ": Address already in use");
}

TEST(Socket, BindsNoPathThatAProcessListensOn) {
  const auto path =
      std::filesystem::path(testing::TempDir()) / ("backplane-socket-" + std::to_string(::getpid()));
  const std::string endpoint = "ipc://" + path.string();
  Context context;
  {
    Context of_another_process;
    Socket first(of_another_process, zmq::socket_type::pub, {});
    ASSERT_TRUE(first.bind(endpoint).has_value());
    Socket second(context, zmq::socket_type::pub, {});
    const auto taken = second.bind(endpoint);
    ASSERT_FALSE(taken.has_value());
    EXPECT_EQ(taken.error().code, ErrorCode::unavailable);
    EXPECT_EQ(taken.error().text, "cannot listen on " + endpoint + ": Address already in use");
  }
  // The socket that a killed process left behind is no obstacle.
  Socket after(context, zmq::socket_type::pub, {});
  EXPECT_TRUE(after.bind(endpoint).has_value());
  std::filesystem::remove(path);
}

TEST(Socket, BindsToIpv6) {
  Context context;
  Socket socket(context, zmq::socket_type::pub, {});
  const auto endpoint = socket.bind("tcp://[::1]:0");
  EXPECT_EQ(endpoint.has_value(), has_ipv6());
  if (endpoint) {
    EXPECT_THAT(*endpoint, StartsWith("tcp://[::1]:"));
  } else {
    EXPECT_THAT(endpoint.error().text, StartsWith("cannot listen on tcp://[::1]:0: "));
  }
}

TEST(CheckEndpoint, SaysWhatItExpects) {
  for (const char* good :
       {"tcp://127.0.0.1:5570", "tcp://[::1]:0", "tcp://*:*", "ipc:///tmp/x", "inproc://a"}) {
    EXPECT_TRUE(check_endpoint(good, "x").has_value()) << good;
  }
  EXPECT_EQ(
      check_endpoint("tcp://::1:5570", "--ingress").error().text,
      "--ingress: expected an IPv6 address in brackets such as tcp://[::1]:5570, got \"tcp://::1:5570\"");
  for (const char* bad :
       {"", "tcp://", "tcp://host", "tcp://host:", "tcp://host:99999", "udp://a:1", "ipc://", "host:1"}) {
    EXPECT_FALSE(check_endpoint(bad, "x").has_value()) << bad;
  }
}

}  // namespace
}  // namespace backplane::mq
