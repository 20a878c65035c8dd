// The store in memory against a model that stores everything and filters naively.

#include <gtest/gtest.h>

#include "broker/state/memory_history.hpp"
#include "tests/broker/state/history_model.hpp"

namespace backplane::broker {
namespace {

class MemoryWalk final : public testing::HistoryWalk {
 public:
  using HistoryWalk::HistoryWalk;

 private:
  void make_store(const HistoryLimits& limits) override {
    HistoryWork work;
    work.expire_on_append = 1000;
    if (pick(0, 3) != 0) work.scan_events_max = pick(1, 20);
    if (pick(0, 3) != 0) work.check_topics_max = pick(1, 14);
    if (pick(0, 3) != 0) work.drop_log_entries = pick(1, 30);
    store_ = std::make_unique<MemoryHistory>(limits, work);
  }
  HistoryStore& store() override { return *store_; }
  std::size_t total_limit() override { return pick(0, 3) == 0 ? std::size_t{1} << 30 : pick(500, 12'000); }
  void compare_figures(const HistoryStore::Figures& got, const HistoryStore::Figures& expected) override {
    EXPECT_EQ(got.events, expected.events);
    EXPECT_EQ(got.values, expected.values);
    EXPECT_EQ(got.bytes, expected.bytes);
    EXPECT_EQ(got.evicted_events, expected.evicted_events);
    EXPECT_EQ(got.evicted_values, expected.evicted_values);
    EXPECT_EQ(got.expired_events, expected.expired_events);
    EXPECT_EQ(got.expired_values, expected.expired_values);
  }

  std::unique_ptr<MemoryHistory> store_;
};

class MemoryHistoryModel : public ::testing::TestWithParam<unsigned> {};

TEST_P(MemoryHistoryModel, TheStoreReturnsWhatTheModelHasAndSaysGoneExactlyIfSomethingIs) {
  for (unsigned seed = GetParam(); seed < GetParam() + 20; ++seed) {
    SCOPED_TRACE(seed);
    MemoryWalk(seed).run(400);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, MemoryHistoryModel, ::testing::Range(0u, 400u, 20u));

}  // namespace
}  // namespace backplane::broker
