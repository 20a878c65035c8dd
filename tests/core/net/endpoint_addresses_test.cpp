#include "core/net/endpoint_addresses.hpp"

#include <atomic>
#include <future>

#include <gtest/gtest.h>

namespace backplane {
namespace {

using namespace std::chrono_literals;

/// The endpoints that are tried, beginning with the present one.
std::vector<std::string> tried(EndpointAddresses& addresses, std::size_t count) {
  std::vector<std::string> all;
  for (; all.size() < count; addresses.next()) all.push_back(addresses.current());
  return all;
}

TEST(EndpointAddresses, AnAddressIsTheOnlyOne) {
  for (const char* endpoint :
       {"tcp://127.0.0.1:5570", "tcp://[::1]:5570", "tcp://[fe80::1%lo]:1", "ipc:///tmp/x", "inproc://x"}) {
    EndpointAddresses addresses(endpoint, 0ms, [](const std::string&) -> std::vector<std::string> {
      ADD_FAILURE() << "no name to look up";
      return {};
    });
    EXPECT_FALSE(addresses.may_change());
    EXPECT_TRUE(addresses.next());
    EXPECT_EQ(addresses.current(), endpoint);
  }
}

TEST(EndpointAddresses, LocalhostIsBothLoopbackAddresses) {
  for (const char* endpoint : {"tcp://localhost:5570", "tcp://LocalHost:5570"}) {
    EndpointAddresses addresses(endpoint);
    EXPECT_EQ(tried(addresses, 3),
              (std::vector<std::string>{"tcp://127.0.0.1:5570", "tcp://[::1]:5570", "tcp://127.0.0.1:5570"}));
  }
  EXPECT_FALSE(is_localhost("localhost."));
  EXPECT_FALSE(is_localhost("localhos"));
  EXPECT_FALSE(is_localhost("localhost1"));
}

TEST(EndpointAddresses, ANameHasAllItsAddressesInTurn) {
  EndpointAddresses addresses("tcp://host7:1", 10s, [](const std::string& host) {
    EXPECT_EQ(host, "host7");
    return std::vector<std::string>{"[::7]", "10.0.0.7"};
  });
  EXPECT_TRUE(addresses.may_change());
  EXPECT_EQ(addresses.current(), "tcp://[::7]:1");
  EXPECT_FALSE(addresses.next());
  EXPECT_EQ(addresses.current(), "tcp://10.0.0.7:1");
  EXPECT_TRUE(addresses.next());
  EXPECT_EQ(addresses.current(), "tcp://[::7]:1");
}

TEST(EndpointAddresses, UntilTheResolverRepliesTheNameItselfIsTried) {
  std::promise<void> reply;
  const std::shared_future<void> may_reply = reply.get_future().share();
  EndpointAddresses addresses("tcp://host7:1", 0ms, [may_reply](const std::string&) {
    may_reply.wait();
    return std::vector<std::string>{"[::7]", "10.0.0.7"};
  });
  EXPECT_EQ(addresses.current(), "tcp://host7:1");
  EXPECT_TRUE(addresses.next());
  EXPECT_EQ(addresses.current(), "tcp://host7:1");
  reply.set_value();
  const auto limit = std::chrono::steady_clock::now() + 60s;
  bool again = true;
  while (addresses.current() == "tcp://host7:1" && std::chrono::steady_clock::now() < limit)
    again = addresses.next();
  EXPECT_EQ(addresses.current(), "tcp://[::7]:1");
  EXPECT_FALSE(again);
  EXPECT_FALSE(addresses.next());
  EXPECT_EQ(addresses.current(), "tcp://10.0.0.7:1");
}

TEST(EndpointAddresses, AnUnknownNameStaysAsItIs) {
  EndpointAddresses addresses("tcp://host7:1", 10s,
                              [](const std::string&) { return std::vector<std::string>{}; });
  EXPECT_EQ(tried(addresses, 3), (std::vector<std::string>(3, "tcp://host7:1")));
}

TEST(EndpointAddresses, ANameIsLookedUpAgainAfterEachRound) {
  const auto lookups = std::make_shared<std::atomic<int>>(0);
  EndpointAddresses addresses("tcp://host7:1", 10s, [lookups](const std::string&) {
    return std::vector<std::string>{(*lookups)++ == 0 ? "10.0.0.7" : "10.0.0.8"};
  });
  EXPECT_EQ(addresses.current(), "tcp://10.0.0.7:1");
  const auto limit = std::chrono::steady_clock::now() + 60s;
  while (addresses.current() != "tcp://10.0.0.8:1" && std::chrono::steady_clock::now() < limit)
    addresses.next();
  EXPECT_EQ(addresses.current(), "tcp://10.0.0.8:1");
  while (lookups->load() < 3 && std::chrono::steady_clock::now() < limit) addresses.next();
}

}  // namespace
}  // namespace backplane
