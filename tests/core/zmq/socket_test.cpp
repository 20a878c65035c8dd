#include "core/zmq/socket.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::mq {
namespace {

using testing::EndsWith;
using testing::Not;
using testing::StartsWith;

TEST(Socket, TellsTheAddressThatItWasBoundToWithTheRealPort) {
  Context context;
  Socket socket(context, zmq::socket_type::pub, {});
  const auto endpoint = socket.bind("tcp://127.0.0.1:0");
  ASSERT_TRUE(endpoint.has_value());
  EXPECT_THAT(*endpoint, StartsWith("tcp://127.0.0.1:")) << "and not IPv6's way to say it";
  EXPECT_THAT(*endpoint, Not(EndsWith(":0")));
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

TEST(Socket, BindsToIpv6) {
  Context context;
  Socket socket(context, zmq::socket_type::pub, {});
  const auto endpoint = socket.bind("tcp://[::1]:0");
  if (!endpoint) GTEST_SKIP() << "no IPv6 here: " << endpoint.error().text;
  EXPECT_THAT(*endpoint, StartsWith("tcp://[::1]:"));
}

TEST(CheckEndpoint, TellsWhatWasWanted) {
  for (const char* good :
       {"tcp://127.0.0.1:5570", "tcp://[::1]:0", "tcp://*:*", "ipc:///tmp/x", "inproc://a"}) {
    EXPECT_TRUE(check_endpoint(good, "x").has_value()) << good;
  }
  EXPECT_EQ(check_endpoint("tcp://::1:5570", "--ingress").error().text,
            "--ingress: wanted an IPv6 address in brackets, as tcp://[::1]:5570, got \"tcp://::1:5570\"");
  for (const char* bad :
       {"", "tcp://", "tcp://host", "tcp://host:", "tcp://host:99999", "udp://a:1", "ipc://", "host:1"}) {
    EXPECT_FALSE(check_endpoint(bad, "x").has_value()) << bad;
  }
}

}  // namespace
}  // namespace backplane::mq
