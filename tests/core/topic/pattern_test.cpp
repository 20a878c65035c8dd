#include "core/topic/pattern.hpp"

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/topic/topic.hpp"

namespace backplane {
namespace {

Pattern pattern(std::string_view text) {
  Result<Pattern> parsed = Pattern::parse(text);
  EXPECT_TRUE(parsed) << text;
  return std::move(parsed).value();
}

std::vector<std::string> tokens_of(std::string_view name) {
  std::vector<std::string> tokens(1);
  for (const char c : name) {
    if (c == '.') {
      tokens.emplace_back();
    } else {
      tokens.back() += c;
    }
  }
  return tokens;
}

// The rule for patterns, written over lists of tokens.
bool matches_by_the_book(const std::string& pattern, const std::string& topic) {
  const std::vector<std::string> expected = tokens_of(pattern);
  const std::vector<std::string> tokens = tokens_of(topic);
  const bool wild_first = expected[0] == "*" || expected[0] == ">";
  if (wild_first && tokens[0] == "$SYS") return false;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == ">") return tokens.size() > i;
    if (i >= tokens.size() || (expected[i] != "*" && expected[i] != tokens[i])) return false;
  }
  return expected.size() == tokens.size();
}

TEST(Pattern, WithoutWildcardsMatchesOneTopic) {
  const Pattern time = pattern("time");
  EXPECT_TRUE(time.is_exact());
  EXPECT_TRUE(time.matches("time"));
  EXPECT_FALSE(time.matches("timezone"));
  EXPECT_FALSE(time.matches("time.zone"));
  EXPECT_FALSE(time.matches("tim"));
}

TEST(Pattern, StarStandsForExactlyOneToken) {
  EXPECT_TRUE(pattern("stock.*").matches("stock.MSFT"));
  EXPECT_FALSE(pattern("stock.*").matches("stock"));
  EXPECT_FALSE(pattern("stock.*").matches("stock.MSFT.close"));
  EXPECT_FALSE(pattern("stock.*").matches("stocks.MSFT"));
  EXPECT_TRUE(pattern("*.MSFT").matches("stock.MSFT"));
  EXPECT_FALSE(pattern("*.MSFT").matches("stock.MSFTX"));
  EXPECT_FALSE(pattern("*.MSFT").matches("MSFT"));
  EXPECT_TRUE(pattern("a.*.c").matches("a.b.c"));
  EXPECT_FALSE(pattern("a.*.c").matches("a.b.b.c"));
  EXPECT_FALSE(pattern("*").matches("a.b"));
}

TEST(Pattern, GreaterStandsForOneTokenOrMore) {
  EXPECT_TRUE(pattern("stock.>").matches("stock.MSFT"));
  EXPECT_TRUE(pattern("stock.>").matches("stock.MSFT.close"));
  EXPECT_FALSE(pattern("stock.>").matches("stock"));
  EXPECT_FALSE(pattern("stock.>").matches("stocks.MSFT"));
  EXPECT_TRUE(pattern("*.x.>").matches("a.x.b"));
  EXPECT_FALSE(pattern("*.x.>").matches("a.x"));
}

TEST(Pattern, AWildcardInTheFirstTokenNeverMatchesASystemTopic) {
  EXPECT_TRUE(pattern(">").matches("a"));
  EXPECT_TRUE(pattern(">").matches("a.$SYS.b"));
  EXPECT_FALSE(pattern(">").matches("$SYS.drain"));
  EXPECT_FALSE(pattern("*.drain").matches("$SYS.drain"));
  EXPECT_FALSE(pattern("*.>").matches("$SYS.drain"));
  EXPECT_TRUE(pattern("$SYS.>").matches("$SYS.drain"));
  EXPECT_TRUE(pattern("$SYS.*").matches("$SYS.drain"));
  EXPECT_TRUE(pattern("$SYS.source.*").matches("$SYS.source.clock"));
}

TEST(Pattern, LiteralPrefixEndsAtTheFirstWildcard) {
  EXPECT_EQ(pattern("stock.MSFT").literal_prefix(), "stock.MSFT");
  EXPECT_EQ(pattern("stock.>").literal_prefix(), "stock.");
  EXPECT_EQ(pattern("a.b.*.c").literal_prefix(), "a.b.");
  EXPECT_EQ(pattern("*.b").literal_prefix(), "");
  EXPECT_FALSE(pattern("stock.>").is_exact());
}

TEST(Pattern, ParseSaysWhatIsWrong) {
  const Result<Pattern> bad = Pattern::parse("stock..MSFT");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(bad.error().text, R"(a token is empty: "stock..MSFT")");
  EXPECT_FALSE(Pattern::parse("a.>.b"));
}

TEST(Pattern, AgreesWithTheRuleOnRandomPatternsAndTopics) {
  const std::vector<std::string> names{"a", "b", "ab", "é"};
  const std::vector<std::string> wilds{"*", "*", "a", "b", "ab", "é"};
  std::mt19937 random{11};
  const auto join = [&random](const std::vector<std::string>& words, bool may_end_long) {
    std::string text;
    if (random() % 8 == 0) text = "$SYS";
    for (auto count = 1 + random() % 4; count > 0; --count) {
      if (!text.empty()) text += '.';
      text += words[random() % words.size()];
    }
    if (may_end_long && random() % 3 == 0) text = text.size() == 1 ? ">" : text + ".>";
    return text;
  };
  int matched = 0;
  for (int round = 0; round < 200'000; ++round) {
    const std::string topic = join(names, false);
    const std::string text = join(wilds, true);
    const Pattern expected = pattern(text);
    const bool matches = expected.matches(topic);
    ASSERT_EQ(matches, matches_by_the_book(text, topic)) << text << " and " << topic;
    // What a ZeroMQ subscription to the prefix does not deliver cannot be filtered back in.
    ASSERT_TRUE(!matches || topic.starts_with(expected.literal_prefix())) << text << " and " << topic;
    matched += matches ? 1 : 0;
  }
  EXPECT_GT(matched, 5'000);
}

TEST(Pattern, CoversWhatMatchesNoMoreThanItself) {
  EXPECT_TRUE(pattern("sensor.>").covers(pattern("sensor.*")));
  EXPECT_TRUE(pattern("sensor.>").covers(pattern("sensor.a.>")));
  EXPECT_TRUE(pattern("sensor.*").covers(pattern("sensor.a")));
  EXPECT_TRUE(pattern(">").covers(pattern("*")));
  EXPECT_FALSE(pattern("*").covers(pattern(">")));
  EXPECT_FALSE(pattern("sensor.>").covers(pattern("sensor")));
  EXPECT_FALSE(pattern("sensor.a").covers(pattern("sensor.*")));
  EXPECT_FALSE(pattern(">").covers(pattern("$SYS.stats")));
}

// Patterns of up to 3 tokens differ in topics of up to 4 tokens; "c" is a token that no pattern names.
TEST(Pattern, CoversAndOverlapsAgreeWithAllTopicsOfASmallAlphabet) {
  const std::vector<std::string> words{"a", "b", "c", "$SYS"};
  std::vector<std::string> topics;
  std::vector<std::string> level{""};
  for (int tokens = 1; tokens <= 4; ++tokens) {
    std::vector<std::string> longer;
    for (const std::string& each : level) {
      for (const std::string& word : words) longer.push_back(each.empty() ? word : each + "." + word);
    }
    for (const std::string& each : longer) {
      if (check_topic(each) == TopicFault::none) topics.push_back(each);
    }
    level = longer;
  }
  std::vector<Pattern> patterns;
  level = {""};
  for (int tokens = 1; tokens <= 3; ++tokens) {
    std::vector<std::string> longer;
    for (const std::string& each : level) {
      for (const char* const word : {"a", "b", "*", ">", "$SYS"}) {
        longer.push_back(each.empty() ? word : each + "." + word);
      }
    }
    for (const std::string& each : longer) {
      if (auto parsed = Pattern::parse(each)) patterns.push_back(*parsed);
    }
    level = longer;
  }
  ASSERT_GT(patterns.size(), 60U);
  for (const Pattern& a : patterns) {
    for (const Pattern& b : patterns) {
      bool all = true;
      bool any = false;
      for (const std::string& topic : topics) {
        if (!b.matches(topic)) continue;
        const bool both = a.matches(topic);
        all = all && both;
        any = any || both;
      }
      EXPECT_EQ(a.covers(b), all) << a.str() << " and " << b.str();
      EXPECT_EQ(a.overlaps(b), any) << a.str() << " and " << b.str();
    }
  }
}

}  // namespace
}  // namespace backplane
