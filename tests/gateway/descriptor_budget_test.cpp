#include "gateway/descriptor_budget.hpp"

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace backplane::gateway {
namespace {

TEST(DescriptorBudget, KeepsDescriptorsForTheGatewayItself) {
  GatewayConfig config;
  // 12 for the publisher, 2 for the reader, 16 for refused connections, 32 for lookups.
  EXPECT_EQ(descriptor_budget(config, 1024).clients_end, 1024 - 62);
  config.metrics = "127.0.0.1:9571";
  EXPECT_EQ(descriptor_budget(config, 1024).clients_end, 1024 - 62 - 32);
  EXPECT_EQ(descriptor_budget(config, 1024).metrics_connections_max, 32u);
}

TEST(DescriptorBudget, KeepsMoreForMoreBrokersAndBackplanes) {
  GatewayConfig config;
  const int one = descriptor_budget(config, 1024).clients_end;
  config.first.brokers = {"a", "b", "c"};
  EXPECT_EQ(descriptor_budget(config, 1024).clients_end, one - 6 - 4);
  config.others.emplace_back();
  EXPECT_EQ(descriptor_budget(config, 1024).clients_end, one - 10 - 12 - 2 - 16);
}

TEST(DescriptorBudget, ALowLimitLeavesSomeForClientsAndAnExtremeOneIsBounded) {
  const GatewayConfig config;
  EXPECT_EQ(descriptor_budget(config, 64).clients_end, 64 - 20);
  EXPECT_EQ(descriptor_budget(config, 10).clients_end, 0);
  const auto unlimited = descriptor_budget(config, std::numeric_limits<std::uint64_t>::max());
  EXPECT_GT(unlimited.clients_end, std::numeric_limits<int>::max() - 1000);
  EXPECT_EQ(unlimited.metrics_connections_max, 256u);
}

}  // namespace
}  // namespace backplane::gateway
