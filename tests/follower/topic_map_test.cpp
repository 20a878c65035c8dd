#include "follower/order/topic_map.hpp"

#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace backplane::follower {
namespace {

struct State {
  std::uint64_t value{};
};

/// All names have one of three hashes, including the highest. That makes long runs of slots, across the end.
struct PoorHash {
  std::size_t operator()(std::string_view name) const noexcept {
    return name.size() % 3 == 0 ? 0xFFFF'FFFF : name.size() % 3;
  }
};

/// A map and its model, with changes and look-ups in random order.
template <class Map>
class Compared {
 public:
  explicit Compared(std::uint32_t range) : range_(range) {}

  void change() {
    const std::string name = any_name();
    if (State* const state = map_.find(name)) {
      ASSERT_TRUE(model_.contains(name));
      if (random_() % 2 == 0) {
        state->value = model_[name] = random_();
        return;
      }
      map_.erase(name);
      model_.erase(name);
    } else {
      ASSERT_FALSE(model_.contains(name));
      const std::uint64_t value = random_();
      model_[name] = value;
      ASSERT_EQ(map_.add(name, {value}).value, value);
    }
    ASSERT_EQ(map_.size(), model_.size());
  }

  /// As a reader does: looks up several topics together, then finds each, with changes in between.
  void look_up(bool with_changes) {
    std::vector<std::string> names;
    for (int i = 0; i < 16; ++i) names.push_back(any_name());
    const std::vector<std::string_view> views(names.begin(), names.end());
    std::vector<typename Map::Guess> guesses(names.size());
    map_.look_up(views, guesses);
    for (std::size_t i = 0; i < names.size(); ++i) {
      const State* const found = map_.find(names[i], guesses[i]);
      ASSERT_EQ(found != nullptr, model_.contains(names[i])) << names[i];
      if (found != nullptr) {
        ASSERT_EQ(found->value, model_[names[i]]) << names[i];
      }
      if (with_changes) change();
    }
  }

  void erase_some() {
    const auto goes = [](std::string_view, std::uint64_t value) { return value % 3 == 0; };
    map_.erase_if([&](std::string_view name, const State& state) { return goes(name, state.value); });
    std::erase_if(model_, [&](const auto& each) { return goes(each.first, each.second); });
    check_all();
  }

  void check_all() {
    ASSERT_EQ(map_.size(), model_.size());
    for (const auto& [name, value] : model_) {
      const State* const found = map_.find(name);
      ASSERT_NE(found, nullptr) << name;
      ASSERT_EQ(found->value, value) << name;
    }
  }

 private:
  /// A name of up to 40 bytes, short enough for the entry or not.
  std::string any_name() {
    const std::uint32_t number = static_cast<std::uint32_t>(random_()) % range_;
    std::string name = "t" + std::to_string(number);
    return name + std::string(number % 37, 'x');
  }

  std::mt19937 random_{1};
  std::uint32_t range_;
  Map map_;
  std::map<std::string, std::uint64_t> model_;
};

template <class Map>
void compare(std::uint32_t range, int steps) {
  Compared<Map> compared(range);
  for (int i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) {
    compared.change();
    if (i % 8 == 0) compared.look_up(i % 16 == 0);
    if (i % 4096 == 4095) compared.erase_some();
  }
  compared.check_all();
}

TEST(TopicMap, BehavesLikeAMap) {
  for (const std::uint32_t range : {1u, 3u, 30u, 3'000u}) compare<TopicMap<State>>(range, 20'000);
}

TEST(TopicMap, DistinguishesNamesWithEqualHashes) {
  for (const std::uint32_t range : {3u, 30u, 100u}) compare<TopicMap<State, PoorHash>>(range, 10'000);
}

TEST(TopicMap, FindsNamesOfAnyLength) {
  TopicMap<State> map;
  for (std::size_t size = 1; size <= 255; ++size) map.add(std::string(size, 'a'), {size});
  for (std::size_t size = 1; size <= 255; ++size) {
    const State* const found = map.find(std::string(size, 'a'));
    ASSERT_NE(found, nullptr) << size;
    EXPECT_EQ(found->value, size);
  }
  EXPECT_EQ(map.find(std::string(256, 'a')), nullptr);
  EXPECT_EQ(map.find(""), nullptr);
}

TEST(TopicMap, LooksUpTheEntriesThemselves) {
  TopicMap<State> map;
  const std::vector<std::string_view> names{"a", "b", "c"};
  std::vector<TopicMap<State>::Guess> guesses(3);
  map.look_up(names, guesses);
  EXPECT_EQ(guesses, std::vector(3, TopicMap<State>::none));
  map.add("a", {});
  map.add("c", {});
  map.look_up(names, guesses);
  EXPECT_NE(guesses[0], TopicMap<State>::none);
  EXPECT_EQ(guesses[1], TopicMap<State>::none);
  EXPECT_NE(guesses[2], TopicMap<State>::none);
  EXPECT_NE(guesses[0], guesses[2]);
}

TEST(TopicMap, UsesOneCacheLineAndFewSlotsPerTopicAndReturnsThem) {
  constexpr std::size_t topics = 100'000;
  TopicMap<std::array<std::uint64_t, 5>> map;
  EXPECT_EQ(map.memory_bytes(), 0u);
  for (std::size_t i = 0; i < topics; ++i) map.add("bench." + std::to_string(i), {});
  EXPECT_LE(map.memory_bytes(), topics * (64 + 8 * 8 / 3 + 1));
  for (std::size_t i = 0; i < topics; ++i) map.erase("bench." + std::to_string(i));
  EXPECT_EQ(map.size(), 0u);
  EXPECT_LE(map.memory_bytes(), 64u << 10);
}

}  // namespace
}  // namespace backplane::follower
