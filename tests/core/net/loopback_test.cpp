#include "core/net/loopback.hpp"

#include <gtest/gtest.h>

namespace backplane {
namespace {

TEST(LoopbackHost, IsLocalhostOrALoopbackAddressInAnyForm) {
  for (const char* const host :
       {"localhost", "LOCALHOST", "127.0.0.1", "127.9.8.7", "127.1", "2130706433", "0x7f000001", "::1",
        "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1"}) {
    EXPECT_TRUE(is_loopback_host(host)) << host;
  }
}

TEST(LoopbackHost, IsNoOtherAddressAndNoName) {
  for (const char* const host : {"0.0.0.0",
                                 "0",
                                 "*",
                                 "::",
                                 "10.0.0.1",
                                 "192.0.2.1",
                                 "128.0.0.1",
                                 "126.255.255.255",
                                 "2001:db8::1",
                                 "fe80::1",
                                 "::ffff:10.0.0.1",
                                 "::ffff:0.0.0.0",
                                 "::2",
                                 "::127.0.0.1",
                                 "127.example.org",
                                 "localhost.example.org",
                                 "localhost.",
                                 "lo",
                                 "host7",
                                 "",
                                 "127.0.0.1 "}) {
    EXPECT_FALSE(is_loopback_host(host)) << host;
  }
}

TEST(LoopbackEndpoint, MayBeAnInterfaceOrNotTcp) {
  for (const char* const endpoint : {"tcp://localhost:5570", "tcp://127.0.0.1:*", "tcp://[::1]:0",
                                     "tcp://lo:5570", "ipc:///tmp/x", "inproc://x"}) {
    EXPECT_TRUE(is_loopback_endpoint(endpoint)) << endpoint;
  }
  for (const char* const endpoint :
       {"tcp://*:5570", "tcp://0.0.0.0:5570", "tcp://[::]:5570", "tcp://192.0.2.1:5570",
        "tcp://[2001:db8::1]:5570", "tcp://127.example.org:5570", "tcp://no-such-if0:1", "udp://127.0.0.1:1",
        "off", ""}) {
    EXPECT_FALSE(is_loopback_endpoint(endpoint)) << endpoint;
  }
}

}  // namespace
}  // namespace backplane
