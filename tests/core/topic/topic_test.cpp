#include "core/topic/topic.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/wire/scan.hpp"

namespace backplane {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;

std::vector<std::string> tokens_of(const std::string& name) {
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

// The rule for topics, as plain as possible.
bool is_topic_by_the_book(const std::string& name) {
  if (name.empty() || name.size() > topic_bytes_max || !wire::is_utf8(name)) return false;
  if (std::string("+-!{").find(name[0]) != std::string::npos) return false;
  if (name[0] == '$' && name.rfind("$SYS.", 0) != 0) return false;
  const std::vector<std::string> tokens = tokens_of(name);
  if (std::count(tokens.begin(), tokens.end(), "") > 0) return false;
  for (std::size_t at = 0; at < name.size(); ++at) {
    const auto byte = static_cast<unsigned char>(name[at]);
    if (byte <= 0x20 || byte == 0x7f || byte == '*' || byte == '>') return false;
    if (byte == 0xc2 && static_cast<unsigned char>(name[at + 1]) < 0xa0) return false;
  }
  return true;
}

TEST(CheckTopic, AcceptsOrdinaryNames) {
  for (const std::string name :
       {"a", "stock.MSFT", "clock", "a.b.c.d", "time-zone.x+y", "a$b.{c}.!d", "a.$SYS.b", "$SYS.broker.x"}) {
    EXPECT_EQ(check_topic(name), TopicFault::none) << name;
  }
}

TEST(CheckTopic, AcceptsAnyLanguage) {
  for (const std::string name : {"wetter.münchen", "новости", "天気.東京", "a\u00a0b", "\U0001F600"}) {
    EXPECT_EQ(check_topic(name), TopicFault::none) << name;
  }
}

TEST(CheckTopic, AcceptsFrom1To255Bytes) {
  EXPECT_EQ(check_topic(""), TopicFault::empty);
  EXPECT_EQ(check_topic(std::string(255, 'a')), TopicFault::none);
  EXPECT_EQ(check_topic(std::string(256, 'a')), TopicFault::too_long);
}

TEST(CheckTopic, RefusesAnEmptyTokenAtAnyPlace) {
  for (const std::string name : {".", "..", ".a", "a.", "a..b", "stock..MSFT", "é..b", "$SYS.", "$SYS..a"}) {
    EXPECT_EQ(check_topic(name), TopicFault::empty_token) << name;
  }
}

TEST(CheckTopic, JudgesEachByteOfAsciiInTheMiddleOfAName) {
  for (int byte = 0; byte < 0x80; ++byte) {
    const std::string name = "a"s + static_cast<char>(byte) + "b";
    const bool control = byte <= 0x20 || byte == 0x7f;
    const TopicFault expected = control                      ? TopicFault::forbidden_character
                                : byte == '*' || byte == '>' ? TopicFault::wildcard
                                                             : TopicFault::none;
    EXPECT_EQ(check_topic(name), expected) << byte;
  }
}

TEST(CheckTopic, RefusesTheControlCharactersAboveAscii) {
  for (int low = 0x80; low <= 0xbf; ++low) {
    const std::string name = "a.\xC2"s + static_cast<char>(low);
    EXPECT_EQ(check_topic(name), low <= 0x9f ? TopicFault::forbidden_character : TopicFault::none) << low;
  }
}

TEST(CheckTopic, RefusesBytesThatAreNotUtf8) {
  for (const std::string name : {"a\xff", "\xc3", "\xc0\xae", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80.a"}) {
    EXPECT_EQ(check_topic(name), TopicFault::not_utf8) << describe(TopicFault::not_utf8, name);
  }
}

TEST(CheckTopic, ReservesTheBytesThatBeginOtherLines) {
  for (const std::string name : {"+a", "-a", "!GAP", "{a", "$a", "$SYS", "$sys.a", "$SYSTEM.a"}) {
    EXPECT_EQ(check_topic(name), TopicFault::reserved_first_byte) << name;
  }
}

TEST(CheckTopic, AgreesWithTheRuleOnRandomNames) {
  const std::vector<std::string> pieces{"a", "b",  ".",    ".",    "*",    ">",      " ",     "\x7f", "$",
                                        "é", "\n", "\xC2", "\x85", "\xA0", "\u20ac", "$SYS.", "+",    "\x80"};
  std::mt19937 random{7};
  int good = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string name;
    for (auto count = random() % 6; count > 0; --count) name += pieces[random() % pieces.size()];
    const bool is_topic = check_topic(name) == TopicFault::none;
    ASSERT_EQ(is_topic, is_topic_by_the_book(name)) << describe(check_topic(name), name);
    good += is_topic ? 1 : 0;
  }
  EXPECT_GT(good, 10'000);
}

TEST(CheckPattern, AcceptsWildcardsAsWholeTokensAndTheLongOneAtTheEnd) {
  for (const std::string text :
       {"a", "*", ">", "*.*", "a.*", "*.b", "a.*.c", "a.>", "*.>", "$SYS.>", "$SYS.*.x"}) {
    EXPECT_EQ(check_pattern(text), TopicFault::none) << text;
  }
  for (const std::string text : {"a*", "*a", "**", ">.a", "a.>.b", "a>", ">>", "a.b*.c", "*>"}) {
    EXPECT_EQ(check_pattern(text), TopicFault::wildcard) << text;
  }
}

TEST(CheckPattern, OtherwiseRequiresTheSameAsATopic) {
  EXPECT_EQ(check_pattern(""), TopicFault::empty);
  EXPECT_EQ(check_pattern(std::string(256, 'a')), TopicFault::too_long);
  EXPECT_EQ(check_pattern("a..*"), TopicFault::empty_token);
  EXPECT_EQ(check_pattern("*."), TopicFault::empty_token);
  EXPECT_EQ(check_pattern("a b.*"), TopicFault::forbidden_character);
  EXPECT_EQ(check_pattern("*.\xff"), TopicFault::not_utf8);
  EXPECT_EQ(check_pattern("$*.a"), TopicFault::reserved_first_byte);
  EXPECT_EQ(check_pattern("!*"), TopicFault::reserved_first_byte);
}

TEST(DescribeTopicFault, ShowsTheNameOnOneLine) {
  EXPECT_EQ(describe(TopicFault::empty_token, "stock..MSFT"), R"(a token is empty: "stock..MSFT")");
  EXPECT_EQ(describe(TopicFault::forbidden_character, "a\n\x1b[2J"s),
            R"(white space or a control character: "a\n\x1B[2J")");
  EXPECT_EQ(describe(TopicFault::not_utf8, "a\xff"), R"(not UTF-8: "a\xFF")");
}

TEST(DescribeTopicFault, CutsALongNameBetweenCharacters) {
  std::string name = "a";
  for (int i = 0; i < 200; ++i) name += "é";
  const std::string text = describe(TopicFault::too_long, name);
  EXPECT_THAT(text, HasSubstr("got 401 bytes: \"aéé"));
  EXPECT_THAT(text, HasSubstr("é…\""));
  EXPECT_LT(text.size(), 200U);
}

}  // namespace
}  // namespace backplane
