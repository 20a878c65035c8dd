#include "broker/state/topic_table.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace backplane::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Pattern pattern(std::string_view text) {
  return Pattern::parse(text).value();
}

std::vector<std::string> names(const TopicTable::Page& page) {
  std::vector<std::string> all;
  for (const TopicEntry* entry : page.topics) all.emplace_back(entry->name);
  return all;
}

void publish(TopicTable& table, std::string_view name, std::uint64_t position) {
  TopicEntry* const entry = table.find_or_add(name);
  ASSERT_NE(entry, nullptr);
  entry->position = position;
  ++entry->offset;
  table.touched(*entry);
}

TEST(TopicTable, ATopicsEntryNeverMoves) {
  TopicTable table(100'000);
  TopicEntry* const first = table.find_or_add("a.b");
  first->offset = 17;
  for (int i = 0; i < 5000; ++i) ASSERT_NE(table.find_or_add("t" + std::to_string(i)), nullptr);
  EXPECT_EQ(table.find_or_add("a.b"), first);
  EXPECT_EQ(table.find("a.b")->offset, 17u);
  EXPECT_EQ(table.find("a"), nullptr);
  EXPECT_EQ(table.size(), 5001u);
}

TEST(TopicTable, AFullTableRefusesNewTopicsOnly) {
  TopicTable table(2);
  ASSERT_NE(table.find_or_add("a"), nullptr);
  ASSERT_NE(table.find_or_add("b"), nullptr);
  EXPECT_EQ(table.find_or_add("c"), nullptr);
  EXPECT_NE(table.find_or_add("a"), nullptr);
  EXPECT_EQ(table.size(), 2u);
}

TEST(TopicTable, AListingIsInByteOrderAndContinuesAfterItsCursor) {
  TopicTable table(100);
  for (const char* name : {"b", "a.c", "a.b", "a", "\xc3\xa4", "a.b.c", "$SYS.x"})
    (void)table.find_or_add(name);
  const TopicTable::Page all = table.list(pattern(">"), "", 100, 100);
  EXPECT_THAT(names(all), ElementsAre("a", "a.b", "a.b.c", "a.c", "b", "\xc3\xa4"));
  EXPECT_EQ(all.cursor, "");
  const TopicTable::Page page = table.list(pattern("a.>"), "", 2, 100);
  EXPECT_THAT(names(page), ElementsAre("a.b", "a.b.c"));
  EXPECT_THAT(names(table.list(pattern("a.>"), page.cursor, 2, 100)), ElementsAre("a.c"));
  EXPECT_THAT(names(table.list(pattern("$SYS.>"), "", 2, 100)), ElementsAre("$SYS.x"));
  EXPECT_THAT(names(table.list(pattern("a.b"), "", 2, 100)), ElementsAre("a.b"));
  EXPECT_THAT(names(table.list(pattern("a.b"), "a.b", 2, 100)), IsEmpty());
}

TEST(TopicTable, APageExaminesNoMoreThanItsLimitAndSaysThatMoreMayFollow) {
  TopicTable table(1000);
  for (int i = 100; i < 200; ++i) (void)table.find_or_add("t" + std::to_string(i) + (i == 155 ? ".x" : ".y"));
  std::vector<std::string> found;
  std::string cursor;
  int pages = 0;
  do {
    const TopicTable::Page page = table.list(pattern("*.x"), cursor, 10, 20);
    for (const std::string& name : names(page)) found.push_back(name);
    cursor = page.cursor;
    ++pages;
  } while (!cursor.empty());
  EXPECT_THAT(found, ElementsAre("t155.x"));
  EXPECT_EQ(pages, 5);
}

TEST(TopicTable, ManyNamesInAnyOrderAreListedInOrder) {
  TopicTable table(100'000);
  std::mt19937 random{3};
  std::vector<std::string> expected;
  for (int i = 0; i < 20'000; ++i) expected.push_back("n" + std::to_string(i));
  std::shuffle(expected.begin(), expected.end(), random);
  for (const std::string& name : expected) ASSERT_NE(table.find_or_add(name), nullptr);
  std::sort(expected.begin(), expected.end());
  std::vector<std::string> got;
  std::string cursor;
  do {
    const TopicTable::Page page = table.list(pattern("*"), cursor, 512, 1000);
    for (const TopicEntry* entry : page.topics) got.emplace_back(entry->name);
    cursor = page.cursor;
  } while (!cursor.empty());
  EXPECT_EQ(got, expected);
}

TEST(TopicTable, ChangesComeInOrderOfTheLastPosition) {
  TopicTable table(100);
  publish(table, "a", 1);
  publish(table, "b", 2);
  publish(table, "c.x", 3);
  publish(table, "a", 4);
  ASSERT_NE(table.find_or_add("never"), nullptr);
  const std::vector<Pattern> all{pattern(">")};
  EXPECT_THAT(names(table.changed_after(all, 0, 10, 10)), ElementsAre("b", "c.x", "a"));
  EXPECT_THAT(names(table.changed_after(all, 2, 10, 10)), ElementsAre("c.x", "a"));
  EXPECT_THAT(names(table.changed_after(all, 4, 10, 10)), IsEmpty());
  const std::vector<Pattern> some{pattern("c.*"), pattern("b")};
  EXPECT_THAT(names(table.changed_after(some, 0, 10, 10)), ElementsAre("b", "c.x"));
  const TopicTable::Page page = table.changed_after(all, 0, 2, 10);
  EXPECT_EQ(page.cursor, "3");
  EXPECT_EQ(table.changed_after(some, 0, 10, 1).cursor, "2");
}

TEST(TopicTable, ChangesAgreeWithAModelOverManyPublications) {
  std::mt19937 random{5};
  TopicTable table(1000);
  std::map<std::string, std::uint64_t> last;
  std::uint64_t position = 0;
  const std::vector<Pattern> patterns{pattern("t1.>"), pattern("*.x")};
  for (int i = 0; i < 20'000; ++i) {
    position += random() % 50 == 0 ? random() % 20'000 : 1;
    const std::string name =
        "t" + std::to_string(random() % (i % 3 == 0 ? 300 : 10)) + (i % 2 == 0 ? ".x" : ".y");
    publish(table, name, ++position);
    last[name] = position;
    if (i % 97 != 0) continue;

    const std::uint64_t after = random() % 3 == 0 ? 0 : random() % (position + 2);
    std::map<std::uint64_t, std::string> expected;
    for (const auto& [topic, at] : last) {
      if (at > after && (patterns[0].matches(topic) || patterns[1].matches(topic))) expected[at] = topic;
    }
    std::map<std::uint64_t, std::string> got;
    std::uint64_t from = after;
    for (;;) {
      const TopicTable::Page page = table.changed_after(patterns, from, 7, 20);
      for (const TopicEntry* entry : page.topics) {
        ASSERT_TRUE(got.empty() || got.rbegin()->first < entry->position);
        got[entry->position] = entry->name;
      }
      if (page.cursor.empty()) break;
      from = std::stoull(page.cursor);
    }
    ASSERT_EQ(got, expected);
  }
}

}  // namespace
}  // namespace backplane::broker
