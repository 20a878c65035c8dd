#include "broker/state/session_table.hpp"

#include <string>

#include <gtest/gtest.h>

namespace backplane::broker {
namespace {

class SessionTableTest : public ::testing::Test {
 protected:
  SessionEntry& use(SessionTable& table, std::string_view source, std::uint64_t session) {
    return table.use(source, session, is_new_);
  }
  bool is_new_{false};
};

TEST_F(SessionTableTest, ASessionIsIdentifiedBySourceAndNumber) {
  SessionTable table(10);
  use(table, "clock", 1).sequence = 5;
  EXPECT_TRUE(is_new_);
  EXPECT_EQ(use(table, "clock", 2).sequence, 0u);
  EXPECT_EQ(use(table, "lock", 1).sequence, 0u);
  EXPECT_EQ(use(table, "clock", 1).sequence, 5u);
  EXPECT_FALSE(is_new_);
  EXPECT_EQ(table.size(), 3u);
  ASSERT_NE(table.find("clock", 1), nullptr);
  EXPECT_EQ(table.find("clock", 3), nullptr);
}

TEST_F(SessionTableTest, TheLastUsedSessionIsFoundAgain) {
  SessionTable table(10);
  use(table, "clock", 1).sequence = 5;
  EXPECT_EQ(use(table, "clock", 1).sequence, 5u);
  EXPECT_FALSE(is_new_);
  EXPECT_EQ(use(table, "clock", 2).sequence, 0u);
  EXPECT_TRUE(is_new_);
  EXPECT_EQ(use(table, "lock", 2).sequence, 0u);
  EXPECT_TRUE(is_new_);
}

TEST_F(SessionTableTest, TheLeastRecentlyUsedIsEvictedAndCountedWhenTheTableIsFull) {
  SessionTable table(3);
  for (const std::uint64_t session : {1u, 2u, 3u, 1u}) use(table, "s", session).sequence = session;
  (void)table.find("s", 2);  // a lookup is not a use
  use(table, "s", 4);
  EXPECT_TRUE(is_new_);
  EXPECT_EQ(table.find("s", 2), nullptr);
  EXPECT_NE(table.find("s", 1), nullptr);
  EXPECT_EQ(table.evicted(), 1u);
  EXPECT_EQ(table.size(), 3u);
  EXPECT_EQ(use(table, "s", 2).sequence, 0u) << "starts again";
  EXPECT_EQ(table.find("s", 3), nullptr);
}

TEST_F(SessionTableTest, ASessionCanBeMadeTheFirstToBeEvicted) {
  SessionTable table(3);
  table.evict_first();  // of none
  use(table, "s", 1);
  table.evict_first();  // of one
  for (const std::uint64_t session : {1u, 2u, 3u}) use(table, "s", session);
  table.evict_first();
  for (const std::uint64_t session : {4u, 5u}) {
    use(table, "s", session);
    table.evict_first();
  }
  EXPECT_NE(table.find("s", 1), nullptr);
  EXPECT_NE(table.find("s", 2), nullptr);
  EXPECT_NE(table.find("s", 5), nullptr);
  use(table, "s", 5);  // is the last used again
  use(table, "s", 6);
  EXPECT_EQ(table.find("s", 1), nullptr);
  EXPECT_NE(table.find("s", 5), nullptr);
}

TEST_F(SessionTableTest, LongSourcesAreEvictedEarlierBecauseTheirBytesAreBoundedToo) {
  SessionTable table(64);  // 16 KiB of sources
  const std::string longest(6000, 'x');
  for (std::uint64_t session = 0; session < 3; ++session) use(table, longest, session);
  EXPECT_EQ(table.size(), 2u);
  EXPECT_EQ(table.evicted(), 1u);
  use(table, std::string(1u << 20, 'y'), 1);  // longer than all: it alone remains
  EXPECT_EQ(table.size(), 1u);
  use(table, "short", 1);
  EXPECT_EQ(table.size(), 1u);
  for (std::uint64_t session = 0; session < 100; ++session) use(table, "short", session);
  EXPECT_EQ(table.size(), 64u);
}

TEST_F(SessionTableTest, ManySessionsComeAndGo) {
  SessionTable table(1000);
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    SessionEntry& entry = use(table, "source" + std::to_string(i % 7), i % 1500);
    ASSERT_EQ(entry.sequence, is_new_ ? 0 : 1u);
    entry.sequence = 1;
  }
  EXPECT_EQ(table.size(), 1000u);
}

}  // namespace
}  // namespace backplane::broker
