#include "fanout/address.hpp"

#include <gtest/gtest.h>

namespace backplane::fanout {
namespace {

TEST(HostPort, IsReadAsPeopleWriteIt) {
  EXPECT_EQ(parse_host_port("127.0.0.1:1601", "listen")->port, 1601);
  EXPECT_EQ(parse_host_port("[::1]:0", "listen")->host, "::1");
  EXPECT_EQ(parse_host_port("localhost:65535", "listen")->host, "localhost");
}

TEST(HostPort, ThatIsWrongIsNamed) {
  EXPECT_EQ(parse_host_port("127.0.0.1", "--listen").error().text,
            "--listen: wanted HOST:PORT, as 127.0.0.1:1601 or [::1]:1601, got \"127.0.0.1\"");
  EXPECT_EQ(parse_host_port("::1:1601", "--listen").error().text,
            "--listen: wanted an IPv6 address in brackets, as [::1]:1601, got \"::1:1601\"");
  for (const char* const wrong : {"", ":", ":1", "a:", "a:-1", "a:65536", "a:1x", "[]:1"}) {
    EXPECT_FALSE(parse_host_port(wrong, "listen")) << wrong;
  }
}

TEST(Address, KnowsLoopbackAndItsHost) {
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

}  // namespace
}  // namespace backplane::fanout
