// Power losses without a sync: each begins a new incarnation, and what is left of the earlier ones is read.

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "broker/store/file_history.hpp"
#include "core/log/log.hpp"
#include "tests/broker/state/stored_events.hpp"
#include "tests/broker/store/simulated_files.hpp"

namespace backplane::broker {
namespace {

using namespace testing;
using End = ReadSlice::End;

constexpr std::int64_t second = 1'000'000'000;

/// One incarnation: what was appended, and how much of it had been synced when the power failed.
struct Incarnation {
  std::vector<Stamped> events;
  std::uint64_t synced{};   // position
  std::uint64_t carried{};  // retained values from the one before: its first events
};

class IncarnationsWalk {
 public:
  explicit IncarnationsWalk(unsigned seed) : random_(seed), disk_(seed) {
    log::set_level(log::Level::off);
    options_.path = "/simulated";
    options_.backplane = "test";
    options_.limits.bytes_max = std::size_t{1} << 40;
    options_.segment_bytes = pick(300, 3000);
    options_.scan_bytes_max = pick(100, 5000);
    options_.threads = false;
  }

  void run() {
    const int count = static_cast<int>(pick(2, 5));
    for (int i = 0; i < count && !::testing::Test::HasFailure(); ++i) {
      open();
      for (auto steps = pick(0, 80); steps > 0; --steps) step();
      if (i + 1 == count) break;
      disk_.power_loss();
      store_.reset();
    }
    for (std::size_t from = 0; from + 1 < all_.size(); ++from) read_from(from);
    read_since();
  }
  [[nodiscard]] std::size_t of_earlier() const { return of_earlier_; }

 private:
  std::size_t pick(std::size_t low, std::size_t high) {
    return std::uniform_int_distribution<std::size_t>(low, high)(random_);
  }

  void open() {
    store_ = std::make_unique<FileHistory>(options_, disk_.files());
    const auto opened = store_->open(all_.size() + 1);
    ASSERT_TRUE(opened) << opened.error().text;
    ASSERT_FALSE(opened->continues);
    numbering_ = Numbering{};
    numbering_.restore(*opened);
    Incarnation next;
    next.carried = next.synced = opened->position;
    check_values(*opened);
    all_.push_back(std::move(next));
  }

  // The retained values are those of some moment between the last sync and the end.
  void check_values(const HistoryStore::Opened& opened) {
    if (all_.empty()) return;
    std::map<std::string, std::set<std::vector<std::byte>>> possible;
    std::set<std::string> certain;
    for (const auto& [topic, bytes] : carried_) {
      possible[topic].insert(bytes);
      certain.insert(topic);
    }
    for (const Stamped& event : all_.back().events) {
      if (event.stamp.position <= all_.back().synced) {
        possible[event.topic].clear();
        certain.erase(event.topic);
        if (!event.clears_value) certain.insert(event.topic);
      } else if (event.clears_value) {
        certain.erase(event.topic);
      }
      if (!event.clears_value) possible[event.topic].insert(payload(event.bytes));
    }
    carried_.clear();
    for (const StoredEvent& value : read(*store_, retained(">")).events) {
      const std::string topic(value.topic);
      const std::vector<std::byte> bytes(value.event.begin(), value.event.end());
      ASSERT_TRUE(possible[topic].contains(payload(bytes))) << topic;
      ASSERT_EQ(stamp_of(value).stream, opened.stream);
      certain.erase(topic);
      carried_[topic] = payload(bytes);
    }
    ASSERT_TRUE(certain.empty()) << *certain.begin() << " has lost its value";
    ASSERT_EQ(carried_.size(), opened.position);
  }

  static std::vector<std::byte> payload(const std::vector<std::byte>& event) {
    return {event.begin(), event.end() - wire::stamp_bytes};
  }

  void step() {
    now_ += static_cast<std::int64_t>(pick(0, 3)) * second;
    if (pick(0, 9) == 0) {
      store_->expire(now_);
      all_.back().synced = numbering_.position();
      return;
    }
    const std::string topic(1, static_cast<char>('a' + pick(0, 3)));
    const Stamped event = numbering_.next(topic, now_, pick(1, 80), pick(0, 9) == 0);
    const HistoryAppend item = event.append();
    ASSERT_EQ(store_->append({&item, 1}).result, HistoryStore::Accepted::accepted);
    all_.back().events.push_back(event);
  }

  void read_from(std::size_t incarnation) {
    ReadRequest request = after_position(">", pick(0, all_[incarnation].synced));
    request.stream = incarnation + 1;
    request.earlier = true;
    if (!store_->has_stream(request.stream)) return;  // nothing had reached the disk
    read_all(request, incarnation, request.position);
  }
  void read_since() {
    ReadRequest request = since(">", 0);
    request.earlier = true;
    std::size_t first = 0;
    while (first + 1 < all_.size() && !store_->has_stream(first + 1)) ++first;
    read_all(request, first, 0);
  }

  void read_all(ReadRequest request, std::size_t incarnation, std::uint64_t position) {
    request.events_max = pick(1, 20);
    std::set<std::uint64_t> delivered;
    std::vector<DestroyedEvents> destroyed;
    bool is_at_start = true;
    const auto check = [&] {
      for (const Stamped& event : all_[incarnation].events) {
        const std::uint64_t at = event.stamp.position;
        if (at <= position || delivered.contains(at)) continue;
        const bool is_announced = std::ranges::any_of(destroyed, [&](const DestroyedEvents& each) {
          return each.topic == event.topic && each.first <= event.stamp.offset &&
                 event.stamp.offset <= each.last;
        });
        // The loss at the end of an incarnation is announced by the next one.
        const bool is_at_end = delivered.empty() ? at > position : at > *delivered.rbegin();
        ASSERT_TRUE(at > all_[incarnation].synced &&
                    (is_announced || is_at_end || incarnation + 1 < all_.size()))
            << "position " << at << " of incarnation " << incarnation + 1;
      }
    };
    for (int slices = 0;; ++slices) {
      ASSERT_LT(slices, 20'000);
      const ReadSlice slice = read(*store_, request);
      const std::size_t of = slice.stream == 0 ? all_.size() - 1 : slice.stream - 1;
      if (of != incarnation) {
        if (is_at_start && request.what == ReadRequest::What::since_time) {
          incarnation = of;
        } else {
          ASSERT_GT(of, incarnation);
          ASSERT_TRUE(slice.events.empty()) << "the reader learns of the new stream first";
          check();
          if (::testing::Test::HasFatalFailure()) return;
          incarnation = of;
          position = 0;
          delivered.clear();
          destroyed.clear();
        }
      }
      is_at_start = false;
      for (const StoredEvent& event : slice.events) {
        const wire::Stamp stamp = stamp_of(event);
        ASSERT_GT(stamp.position, position);
        ASSERT_TRUE(delivered.empty() || *delivered.rbegin() < stamp.position);
        delivered.insert(stamp.position);
        of_earlier_ += of + 1 < all_.size() ? 1u : 0u;
        if (stamp.position <= all_[incarnation].carried) continue;
        const Stamped& appended = all_[incarnation].events.at(stamp.position - all_[incarnation].carried - 1);
        ASSERT_EQ(appended.topic, event.topic);
        ASSERT_TRUE(std::ranges::equal(appended.bytes, event.event));
      }
      destroyed.insert(destroyed.end(), slice.destroyed.begin(), slice.destroyed.end());
      if (slice.end == End::complete) break;
      ASSERT_EQ(slice.end, End::more);
      request.cursor = slice.cursor;
    }
    ASSERT_EQ(incarnation + 1, all_.size());
    ASSERT_EQ(delivered.size() + position, numbering_.position());
  }

  std::mt19937 random_;
  SimulatedDisk disk_;
  FileHistoryOptions options_;
  std::unique_ptr<FileHistory> store_;
  Numbering numbering_;
  std::int64_t now_{1'000 * second};
  std::vector<Incarnation> all_;
  std::map<std::string, std::vector<std::byte>> carried_;
  std::size_t of_earlier_{0};  // events delivered of earlier incarnations
};

class FileHistoryIncarnations : public ::testing::TestWithParam<unsigned> {};

TEST_P(FileHistoryIncarnations, WhatWasSyncedIsReadFromEveryIncarnationAndValuesSurvive) {
  std::size_t of_earlier = 0;
  for (unsigned seed = GetParam(); seed < GetParam() + 50; ++seed) {
    SCOPED_TRACE(seed);
    IncarnationsWalk walk(seed);
    walk.run();
    if (HasFailure()) return;
    of_earlier += walk.of_earlier();
  }
  EXPECT_GT(of_earlier, 5000u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FileHistoryIncarnations, ::testing::Range(0u, 500u, 50u));

}  // namespace
}  // namespace backplane::broker
