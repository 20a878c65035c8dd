#include "fanout/audience_table.hpp"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace backplane::fanout {
namespace {

TEST(AudienceTable, HasTheEntriesOfAMapAfterTheSameCalls) {
  std::mt19937 random(1);
  const auto any = [&](std::uint32_t range) {
    return AudienceId{static_cast<std::uint32_t>(random()) % range * 7};
  };
  for (const std::uint32_t range : {3u, 30u, 3000u}) {
    AudienceTable table;
    std::map<AudienceId, std::uint32_t> model;
    for (std::uint32_t i = 0; i < 30'000; ++i) {
      const AudienceId audience = any(range);
      if (model.contains(audience)) {
        table.remove(audience);
        model.erase(audience);
      } else {
        table.add(audience, i);
        model[audience] = i;
      }
      const AudienceId other = any(range);
      const std::uint32_t* const found = table.find(other);
      ASSERT_EQ(found != nullptr, model.contains(other));
      if (found != nullptr) {
        ASSERT_EQ(*found, model[other]);
      }
    }
    std::map<AudienceId, std::uint32_t> listed;
    table.for_each([&](AudienceId audience, std::uint32_t place) { listed[audience] = place; });
    EXPECT_EQ(listed, model);
    EXPECT_EQ(table.size(), model.size());
  }
}

TEST(AudienceTable, FreesItsMemory) {
  AudienceTable table;
  EXPECT_EQ(table.memory(), 0u);
  for (std::uint32_t i = 0; i < 100'000; ++i) table.add(AudienceId{i}, i);
  EXPECT_LE(table.memory(), 100'000u * 22);
  for (std::uint32_t i = 0; i < 100'000; ++i) table.remove(AudienceId{i});
  EXPECT_EQ(table.memory(), 0u);
}

}  // namespace
}  // namespace backplane::fanout
