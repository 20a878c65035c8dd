#include "broker/state/event_pool.hpp"

#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace backplane::broker {
namespace {

TEST(EventPool, ABlockIsLargeEnoughAndCostsLittleMore) {
  EventPool pool(0);
  for (std::size_t bytes = 56; bytes < 200'000; bytes += bytes < 3000 ? 1 : 97) {
    void* const block = pool.take(bytes);
    std::memset(block, 0xff, bytes);
    EXPECT_EQ(pool.taken_bytes(), EventPool::block_bytes(bytes));
    EXPECT_GE(EventPool::block_bytes(bytes), bytes + 8);
    EXPECT_LE(EventPool::block_bytes(bytes), bytes + 24 + (bytes > 1024 ? bytes / 8 : 0)) << bytes;
    pool.give(block, bytes);
    EXPECT_EQ(pool.taken_bytes(), 0u);
    EXPECT_EQ(pool.slack_bytes(), 0u);
  }
}

TEST(EventPool, FreedBlocksAreReused) {
  EventPool pool(1u << 20);
  for (const std::size_t bytes : {100u, 300u, 2000u, 60'000u}) {
    void* const block = pool.take(bytes);
    pool.give(block, bytes);
    const std::uint64_t before = pool.system_blocks();
    void* const again = pool.take(bytes - 3);
    EXPECT_EQ(again, block);
    EXPECT_EQ(pool.system_blocks(), before);
    pool.give(again, bytes - 3);
  }
}

TEST(EventPool, FreeBlocksAreBoundedAndOldSizesAreReleased) {
  EventPool pool(10'000);
  std::mt19937 random{1};
  std::vector<std::pair<void*, std::size_t>> taken;
  for (int i = 0; i < 50'000; ++i) {
    if (taken.size() < 100 || random() % 2 == 0) {
      const std::size_t bytes = (i < 25'000 ? 100 : 400) + random() % 100 + (random() % 50 == 0 ? 90'000 : 0);
      taken.emplace_back(pool.take(bytes), bytes);
    } else {
      std::swap(taken[random() % taken.size()], taken.back());
      pool.give(taken.back().first, taken.back().second);
      taken.pop_back();
    }
    ASSERT_LE(pool.slack_bytes(), 10'000u);
  }
  std::size_t all = 0;
  for (const auto& [block, bytes] : taken) all += EventPool::block_bytes(bytes);
  EXPECT_EQ(pool.taken_bytes(), all);
  for (const auto& [block, bytes] : taken) pool.give(block, bytes);
  EXPECT_EQ(pool.taken_bytes(), 0u);
}

}  // namespace
}  // namespace backplane::broker
