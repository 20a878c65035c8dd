// The memory and the allocations of the broker's state. A program of its own, because it counts every
// allocation.

#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "broker/state/memory_history.hpp"
#include "broker/state/session_table.hpp"
#include "broker/state/topic_table.hpp"
#include "tests/allocations/counted_new.hpp"
#include "tests/broker/state/stored_events.hpp"

namespace backplane::broker {
namespace {

using backplane::testing::allocated_bytes;
using backplane::testing::allocations;
using testing::Numbering;
using testing::Stamped;

constexpr std::size_t topic_count = 100'000;
// A message of 128 bytes in an Event like the clock's: source, session, sequence, time, and the stamp.
constexpr std::size_t event_bytes = 220;

std::string topic_name(std::size_t i) {
  return "plant" + std::to_string(i % 17) + ".hall" + std::to_string(i % 301) + ".sensor" + std::to_string(i);
}

TEST(StateMemory, AHundredThousandTopicsWithAValueEachTakeAtMostSixtyMegabytes) {
  const std::size_t before = allocated_bytes;
  TopicTable table(1'000'000);
  MemoryHistory store(HistoryLimits{});
  wire::Stamp stamp{.stream = 1, .position = 0, .offset = 1, .previous = 0, .received_ns = 0};
  std::size_t name_bytes = 0;
  for (std::size_t i = 0; i < topic_count; ++i) {
    const std::string name = topic_name(i);
    name_bytes += name.size();
    stamp.position = i + 1;
    TopicEntry* const entry = table.find_or_add(name);
    ASSERT_NE(entry, nullptr);
    entry->offset = 1;
    entry->position = stamp.position;
    table.touched(*entry);
    const Stamped event(name, stamp, event_bytes - wire::stamp_bytes, false);
    const HistoryAppend item = event.append();
    ASSERT_EQ(store.append({&item, 1}).result, HistoryStore::Accepted::accepted);
  }
  const std::size_t taken = allocated_bytes - before;
  RecordProperty("bytes_a_topic", std::to_string(taken / topic_count));
  RecordProperty("name_bytes", std::to_string(name_bytes / topic_count));
  EXPECT_LE(taken, 60'000'000u) << taken / topic_count << " bytes per topic, names of "
                                << name_bytes / topic_count;
  EXPECT_EQ(store.figures().values, topic_count);

  // What they report of themselves is true, except for the queue of what will become too old (16 bytes per
  // topic).
  const std::size_t said = table.memory_bytes() + store.figures().bytes + store.overhead().topics_bytes;
  EXPECT_NEAR(static_cast<double>(said), static_cast<double>(taken), 0.05 * static_cast<double>(taken));
}

// Keeps a store full: one event is dropped for each that is added.
class SteadyState : public ::testing::Test {
 protected:
  void append(std::size_t payload_bytes) {
    topic_ = topic_name(random_() % 1000);
    const Stamped event =
        numbering_.next(topic_, static_cast<std::int64_t>(numbering_.position()) * 1000, payload_bytes);
    const HistoryAppend item = event.append();
    const std::size_t before = allocations;
    ASSERT_EQ(store_.append({&item, 1}).result, HistoryStore::Accepted::accepted);
    counted_ += allocations - before;
  }

  static HistoryLimits limits() {
    HistoryLimits limits;
    limits.bytes_max = 8u << 20;
    limits.rules.push_back({testing::pattern("plant1.>"), {.history_events = 10}});
    return limits;
  }

  std::string topic_;
  std::mt19937 random_{1};
  Numbering numbering_;
  MemoryHistory store_{limits()};
  std::size_t counted_{0};
};

TEST_F(SteadyState, AnEventAllocatesNothing) {
  for (int i = 0; i < 60'000; ++i) append(173);
  ASSERT_GT(store_.figures().evicted_events, 1000u);
  counted_ = 0;
  for (int i = 0; i < 100'000; ++i) append(173);
  EXPECT_EQ(counted_, 0u);
}

TEST_F(SteadyState, EventsOfMixedSizesHardlyAllocate) {
  for (int i = 0; i < 120'000; ++i) append(50 + random_() % 500);
  ASSERT_GT(store_.figures().evicted_events, 1000u);
  counted_ = 0;
  for (int i = 0; i < 100'000; ++i) append(50 + random_() % 500);
  EXPECT_LT(counted_, 5000u) << "5 in 100, with a slack of 256 KiB for 32 sizes";
}

TEST_F(SteadyState, AChangeOfSizesLeavesNoMemoryBehind) {
  const std::size_t before = allocated_bytes;
  for (const std::size_t payload : {100u, 1000u, 300u, 20'000u, 100u, 60'000u, 200'000u, 500u}) {
    for (int i = 0; i < 60'000 && store_.figures().bytes < 1u << 30; ++i) {
      append(payload);
      if (payload > 5000 && i > 3000) break;
    }
    EXPECT_LE(store_.figures().bytes, limits().bytes_max);
    EXPECT_LE(store_.overhead().slack_bytes, limits().bytes_max / 32);
    EXPECT_LE(allocated_bytes - before, limits().bytes_max * 5 / 4 + 2'000'000);
  }
}

TEST(StateMemory, LookingUpKnownNamesAllocatesNothing) {
  TopicTable table(1000);
  SessionTable sessions(100);
  bool is_new = false;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < 50; ++i) names.push_back(topic_name(i));
  std::uint64_t position = 0;
  const auto publish = [&](std::uint64_t events) {
    for (std::uint64_t i = 0; i < events; ++i) {
      TopicEntry* const entry = table.find_or_add(names[i * i % names.size()]);
      entry->position = ++position;
      table.touched(*entry);
      (void)sessions.use("a source with a name of some length", i % 50, is_new);
    }
  };
  publish(20'000);
  const std::size_t before = allocations;
  publish(100'000);
  EXPECT_EQ(allocations, before);
  EXPECT_FALSE(is_new);
}

}  // namespace
}  // namespace backplane::broker
