#include "fanout/small_vector.hpp"

#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace backplane::fanout {
namespace {

using Numbers = SmallVector<std::uint32_t>;

std::vector<std::uint32_t> list(const Numbers& items) {
  return {items.begin(), items.end()};
}

TEST(SmallVector, ContainsASingleElementInItself) {
  static_assert(sizeof(SmallVector<std::uint64_t>) == 16);
  SmallVector<std::uint64_t> items;
  items.push_back(~std::uint64_t{0});
  EXPECT_EQ(items.memory(), 0u);
  EXPECT_EQ(items[0], ~std::uint64_t{0});
  const auto* const begin = reinterpret_cast<const char*>(items.begin());
  EXPECT_TRUE(begin >= reinterpret_cast<const char*>(&items) &&
              begin < reinterpret_cast<const char*>(&items + 1));
}

TEST(SmallVector, HasTheElementsOfAVectorAfterTheSameCalls) {
  std::mt19937 random(1);
  Numbers items;
  std::vector<std::uint32_t> model;
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    if (random() % 100 < (i / 1'000 % 2 == 0 ? 70u : 30u)) {
      items.push_back(i);
      model.push_back(i);
    } else if (!model.empty()) {
      items.pop_back();
      model.pop_back();
    }
    ASSERT_EQ(items.size(), model.size());
    ASSERT_EQ(items.empty(), model.empty());
    if (!model.empty()) {
      const std::size_t at = random() % model.size();
      items[at] = model[at] = i;
      ASSERT_EQ(items[model.size() - 1], model.back());
    }
    if (random() % 16 == 0) {
      ASSERT_EQ(list(items), model);
    }
  }
}

TEST(SmallVector, FreesItsMemoryWithTheLastElement) {
  Numbers items(std::vector<std::uint32_t>{1, 2, 3});
  EXPECT_GT(items.memory(), 0u);
  while (!items.empty()) items.pop_back();
  EXPECT_EQ(items.memory(), 0u);
  items.push_back(4);
  EXPECT_EQ(list(items), std::vector<std::uint32_t>{4});
}

TEST(SmallVector, IsEmptyAfterBeingMovedFrom) {
  const std::vector<std::vector<std::uint32_t>> each{{}, {1}, {1, 2, 3}};
  for (const std::vector<std::uint32_t>& all : each) {
    Numbers from(all);
    Numbers to(std::vector<std::uint32_t>{7, 8});
    to = std::move(from);
    EXPECT_EQ(list(to), all);
    const Numbers made(std::move(to));
    EXPECT_EQ(list(made), all);
    from = Numbers(std::vector<std::uint32_t>{9});
    EXPECT_EQ(list(from), std::vector<std::uint32_t>{9});
  }
}

}  // namespace
}  // namespace backplane::fanout
