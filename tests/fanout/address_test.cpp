#include "fanout/address.hpp"

#include <gtest/gtest.h>

namespace backplane::fanout {
namespace {

TEST(Address, ComparesHostsAndDetectsLoopback) {
  const auto address = [](const char* text) { return *look_up(*parse_host_port(text, "test")); };
  EXPECT_TRUE(address("127.0.0.9:1").is_loopback());
  EXPECT_TRUE(address("[::1]:1").is_loopback());
  EXPECT_TRUE(address("[::ffff:127.0.0.1]:1").is_loopback());
  EXPECT_FALSE(address("192.0.2.1:1").is_loopback());
  EXPECT_FALSE(address("[2001:db8::1]:1").is_loopback());
  EXPECT_EQ(address("192.0.2.1:1").host_key(), address("[::ffff:192.0.2.1]:2").host_key());
  EXPECT_NE(address("192.0.2.1:1").host_key(), address("192.0.2.2:1").host_key());
  EXPECT_EQ(address("[2001:db8::1]:80").text(), "[2001:db8::1]:80");
}

TEST(Address, ANetworkIsWhatOneMachineCanHave) {
  const auto network = [](const char* text) {
    return look_up(*parse_host_port(text, "test"))->network_key();
  };
  EXPECT_EQ(network("[2001:db8::1]:1"), network("[2001:db8::ffff:1:2:3]:2"));
  EXPECT_NE(network("[2001:db8::1]:1"), network("[2001:db8:0:1::1]:1"));
  EXPECT_EQ(network("192.0.2.1:1"), network("[::ffff:192.0.2.1]:2"));
  EXPECT_NE(network("192.0.2.1:1"), network("192.0.2.2:1"));
}

}  // namespace
}  // namespace backplane::fanout
