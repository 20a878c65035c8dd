#include "core/net/broker_address.hpp"

#include <string>

#include <gtest/gtest.h>

namespace backplane {
namespace {

TEST(BrokerAddress, ThePortsFollowFromTheFirst) {
  const auto address = parse_broker_address("host7:7000", "--broker").value();
  EXPECT_EQ(address.ingress(), "tcp://host7:7000");
  EXPECT_EQ(address.egress(), "tcp://host7:7001");
  EXPECT_EQ(address.control(), "tcp://host7:7002");
  EXPECT_EQ(parse_broker_address("[::1]:65533", "b")->control(), "tcp://[::1]:65535");
  EXPECT_EQ(parse_broker_address("host7:1", "b")->egress(), "tcp://host7:2");
}

TEST(BrokerAddress, WithoutAPortItHasTheDefaultOnes) {
  for (const char* text : {"host7", "host7:5570", "host7:5571", "host7:5572"}) {
    const auto address = parse_broker_address(text, "b").value();
    EXPECT_EQ(address.ingress(), "tcp://host7:5570") << text;
    EXPECT_EQ(address.control(), "tcp://host7:5572") << text;
  }
  EXPECT_EQ(parse_broker_address("::1", "b")->egress(), "tcp://[::1]:5571");
  EXPECT_EQ(parse_broker_address("[fe80::1%eth0]", "b")->egress(), "tcp://[fe80::1%eth0]:5571");
}

TEST(BrokerAddress, AnErrorSaysWhatThePortIs) {
  for (const char* wrong : {"host7:0", "host7:65534", "host7:65535", "host7:99999", "host7:-1", "host7:+1",
                            "host7:", "host7:x", "host7:1x", "[::1]:"}) {
    EXPECT_EQ(
        parse_broker_address(wrong, "--broker").error().text,
        "--broker: expected a port of 1..65533 (of ingress; egress and control have the next two), got \"" +
            std::string(wrong) + "\"");
  }
  for (const char* wrong :
       {"", ":5570", "[host7]:5570", "host7:5570:5570x", "tcp://host7:5570", "a b", "a,b"}) {
    EXPECT_EQ(
        parse_broker_address(wrong, "--broker").error().text,
        "--broker: expected HOST[:PORT] or HOST[:PORT],HOST[:PORT], got \"" + std::string(wrong) + "\"");
  }
}

}  // namespace
}  // namespace backplane
