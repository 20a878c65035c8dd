#include "core/net/host_port.hpp"

#include <gtest/gtest.h>

namespace backplane {
namespace {

TEST(HostPort, IsParsedAsPeopleWriteIt) {
  EXPECT_EQ(parse_host_port("127.0.0.1:1601", "listen")->port, 1601);
  EXPECT_EQ(parse_host_port("[::1]:0", "listen")->host, "::1");
  EXPECT_EQ(parse_host_port("localhost:65535", "listen")->host, "localhost");
}

TEST(HostPort, AnErrorNamesIt) {
  EXPECT_EQ(parse_host_port("127.0.0.1", "--listen").error().text,
            "--listen: expected HOST:PORT such as 127.0.0.1:1601 or [::1]:1601, got \"127.0.0.1\"");
  EXPECT_EQ(parse_host_port("::1:1601", "--listen").error().text,
            "--listen: expected an IPv6 address in brackets such as [::1]:1601, got \"::1:1601\"");
  for (const char* const wrong : {"", ":", ":1", "a:", "a:-1", "a:65536", "a:1x", "[]:1"}) {
    EXPECT_FALSE(parse_host_port(wrong, "listen")) << wrong;
  }
}

}  // namespace
}  // namespace backplane
