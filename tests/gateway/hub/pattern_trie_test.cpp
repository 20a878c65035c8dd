#include "gateway/hub/pattern_trie.hpp"

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/topic/pattern.hpp"

namespace backplane::gateway {
namespace {

using ::testing::UnorderedElementsAre;

std::set<int> matches(const PatternTrie<int>& trie, std::string_view topic) {
  std::set<int> found;
  trie.match(topic, [&](int value) { EXPECT_TRUE(found.insert(value).second) << "twice: " << value; });
  return found;
}

TEST(PatternTrie, FindsThePatternsThatMatch) {
  PatternTrie<int> trie;
  trie.insert("stock.>", 1);
  trie.insert("stock.*", 2);
  trie.insert("*.MSFT", 3);
  trie.insert(">", 4);
  trie.insert("$SYS.>", 5);
  EXPECT_THAT(matches(trie, "stock.MSFT"), UnorderedElementsAre(1, 2, 3, 4));
  EXPECT_THAT(matches(trie, "stock"), UnorderedElementsAre(4));
  EXPECT_THAT(matches(trie, "$SYS.source.a"), UnorderedElementsAre(5));
}

TEST(PatternTrie, IsEmptyAfterEveryPatternIsErased) {
  PatternTrie<int> trie;
  for (const char* const pattern : {"a.*.c", "a.>", ">", "*"}) trie.insert(pattern, 1);
  for (const char* const pattern : {"a.*.c", "a.>", ">", "*", "never.*"}) trie.erase(pattern);
  EXPECT_TRUE(trie.empty());
}

TEST(PatternTrie, AgreesWithThePatternsThemselves) {
  std::mt19937 random(1);
  const auto name = [&](std::vector<std::string> tokens) {
    std::string text;
    for (unsigned i = 0, count = 1 + random() % 4; i < count; ++i) {
      if (i > 0) text += '.';
      text += tokens[random() % tokens.size()];
      if (text.ends_with('>')) break;
    }
    return text;
  };
  for (int round = 0; round < 200; ++round) {
    PatternTrie<int> trie;
    std::map<std::string, int> model;
    for (int i = 1; i <= 30; ++i) {
      const std::string pattern = name({"a", "b", "$SYS", "*", "*", ">"});
      if (check_pattern(pattern) != TopicFault::none) continue;
      if (random() % 4 == 0) {
        trie.erase(pattern);
        model.erase(pattern);
      } else {
        trie.insert(pattern, i);
        model[pattern] = i;
      }
    }
    for (int i = 0; i < 30; ++i) {
      const std::string topic = name({"a", "b", "$SYS"});
      if (check_topic(topic) != TopicFault::none) continue;
      std::set<int> expected;
      for (const auto& [pattern, value] : model) {
        if (Pattern::parse(pattern)->matches(topic)) expected.insert(value);
      }
      ASSERT_EQ(matches(trie, topic), expected) << topic;
    }
  }
}

}  // namespace
}  // namespace backplane::gateway
