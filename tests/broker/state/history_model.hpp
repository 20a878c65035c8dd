#pragma once
// A model of a history store that stores everything and filters naively, and random walks that compare a
// store with it.

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "broker/state/kept_events.hpp"
#include "tests/broker/state/stored_events.hpp"

namespace backplane::broker::testing {

struct ModelRecord {
  std::string topic;
  std::uint64_t position;
  std::uint64_t offset;
  std::int64_t time;
  std::size_t event_bytes;
  bool in_history{true};
  bool is_value{false};

  [[nodiscard]] std::size_t block() const { return EventPool::block_bytes(sizeof(KeptEvent) + event_bytes); }
  [[nodiscard]] bool is_held() const { return in_history || is_value; }
};

/// All events ever appended, in order, and what the rules say is still stored.
class HistoryModel {
 public:
  explicit HistoryModel(HistoryLimits limits) : limits_(std::move(limits)) {}

  void append(const Stamped& event) {
    const std::int64_t now = clock_.advance(event.stamp.received_ns);
    records_.push_back({event.topic, event.stamp.position, event.stamp.offset, now, event.bytes.size()});
    for (ModelRecord& record : records_) {
      if (record.topic == event.topic) record.is_value = false;
    }
    records_.back().is_value = !event.clears_value;
    enforce_bounds(event.topic);
    collect();
    evict(64 + event.bytes.size() / 16);
  }

  void expire(std::int64_t wall_ns) {
    clock_.advance(wall_ns);
    collect();
    evict(std::numeric_limits<std::size_t>::max());
  }

  /// What a read does first.
  void collect() {
    for (ModelRecord& record : records_) {
      const Retention& bounds = retention(record.topic);
      if (record.in_history && record.time + bounds.history_age.count() <= clock_.now()) {
        record.in_history = false;
        ++figures_.expired_events;
      }
      if (record.is_value && bounds.value_ttl.count() > 0 &&
          record.time + bounds.value_ttl.count() <= clock_.now()) {
        record.is_value = false;
        ++figures_.expired_values;
      }
    }
  }

  [[nodiscard]] HistoryStore::Figures figures() const {
    HistoryStore::Figures figures = figures_;
    for (const ModelRecord& record : records_) {
      figures.events += record.in_history ? 1 : 0;
      figures.values += record.is_value ? 1 : 0;
      figures.bytes += record.is_held() ? record.block() : 0;
    }
    return figures;
  }

  [[nodiscard]] const std::vector<ModelRecord>& records() const { return records_; }
  [[nodiscard]] std::int64_t store_time(std::int64_t wall_ns) const { return clock_.of(wall_ns); }
  [[nodiscard]] std::int64_t now() const { return clock_.now(); }

 private:
  [[nodiscard]] const Retention& retention(const std::string& topic) const {
    for (const RetentionRule& rule : limits_.rules) {
      if (rule.pattern.matches(topic)) return rule.retention;
    }
    return limits_.otherwise;
  }

  void enforce_bounds(const std::string& topic) {
    const Retention& bounds = retention(topic);
    std::vector<ModelRecord*> held;
    std::size_t bytes = 0;
    for (ModelRecord& record : records_) {
      if (!record.in_history || record.topic != topic) continue;
      held.push_back(&record);
      bytes += record.event_bytes;
    }
    std::size_t left = held.size();
    for (ModelRecord* record : held) {
      if (left <= bounds.history_events && bytes <= bounds.history_bytes) break;
      record->in_history = false;
      --left;
      bytes -= record->event_bytes;
      ++figures_.expired_events;
    }
  }

  void evict(std::size_t events_max) {
    std::size_t bytes = figures().bytes;
    for (ModelRecord& record : records_) {
      if (bytes <= limits_.bytes_max) return;
      if (!record.in_history) continue;
      if (events_max-- == 0) return;
      record.in_history = false;
      ++figures_.evicted_events;
      if (!record.is_held()) bytes -= record.block();
    }
    for (ModelRecord& record : records_) {
      if (bytes <= limits_.bytes_max) return;
      if (!record.is_value) continue;
      record.is_value = false;
      ++figures_.evicted_values;
      bytes -= record.block();
    }
  }

  HistoryLimits limits_;
  StoreClock clock_;
  std::vector<ModelRecord> records_;
  HistoryStore::Figures figures_;
};

/// One walk through random operations.
class HistoryWalk {
 public:
  explicit HistoryWalk(unsigned seed) : random_(seed) {
    for (const char* topic :
         {"a", "a.b", "a.b.c", "a.x", "a.x.c", "b", "b.1", "b.2", "b.3", "b.3.c", "c.c", "$SYS.source.s"}) {
      topics_.emplace_back(topic);
    }
  }
  virtual ~HistoryWalk() = default;

  void run(int steps) {
    HistoryLimits limits;
    limits.bytes_max = total_limit();
    limits.otherwise = retention();
    for (const char* rule : {"a.>", "b.*", ">"}) {
      if (pick(0, 1) == 0) limits.rules.push_back({pattern(rule), retention()});
    }
    model_ = std::make_unique<HistoryModel>(limits);
    make_store(limits);
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      if (pick(0, 9) < 8) {
        change();
      } else if (pick(0, 3) == 0) {
        read_values();
      } else {
        read_history();
      }
      compare_figures(store().figures(), model_->figures());
    }
  }

 protected:
  /// Before the first step.
  virtual void make_store(const HistoryLimits& limits) = 0;
  virtual HistoryStore& store() = 0;
  virtual std::size_t total_limit() { return std::size_t{1} << 30; }
  virtual void compare_figures(const HistoryStore::Figures& got, const HistoryStore::Figures& expected) = 0;
  /// Whether a read says `gone` only when it comes to what is lost.
  [[nodiscard]] virtual bool finds_losses_late() const { return false; }
  /// Now and then; may replace the store.
  virtual void interrupt() {}

  std::size_t pick(std::size_t low, std::size_t high) {
    return std::uniform_int_distribution<std::size_t>(low, high)(random_);
  }

  Retention retention() {
    Retention bounds;
    if (pick(0, 2) == 0) bounds.history_events = pick(0, 12);
    if (pick(0, 2) == 0) bounds.history_bytes = pick(0, 1500);
    if (pick(0, 1) == 0) bounds.history_age = std::chrono::milliseconds{pick(0, 9000)};
    if (pick(0, 1) == 0) bounds.value_ttl = std::chrono::milliseconds{pick(1, 20'000)};
    return bounds;
  }

  virtual void step_time() {
    if (pick(0, 2) == 0) wall_ns_ += static_cast<std::int64_t>(pick(0, 400)) * 1'000'000;
    if (pick(0, 200) == 0) wall_ns_ -= static_cast<std::int64_t>(pick(0, 5000)) * 1'000'000;
  }

  virtual void change() {
    interrupt();
    step_time();
    if (pick(0, 14) == 0) {
      store().expire(wall_ns_);
      model_->expire(wall_ns_);
      return;
    }
    // Some topics are busier than others.
    const std::string& topic = topics_[std::min(pick(0, topics_.size() - 1), pick(0, topics_.size() - 1))];
    const std::size_t bytes = pick(0, 30) == 0 ? pick(0, 3000) : pick(0, 60);
    const Stamped event = numbering_.next(topic, wall_ns_, bytes, pick(0, 9) == 0);
    const HistoryAppend item = event.append();
    ASSERT_EQ(store().append({&item, 1}).result, HistoryStore::Accepted::accepted);
    model_->append(event);
  }

  static const std::vector<std::string>& patterns() {
    static const std::vector<std::string> all{"a.b", "b",     "a.>",    "b.*",      ">",      "*.c",
                                              "*",   "a.*.c", "nobody", "nobody.>", "$SYS.>", "c.c"};
    return all;
  }

  ReadRequest some_request(ReadRequest::What what) {
    ReadRequest request(pattern(patterns()[pick(0, patterns().size() - 1)]));
    while (what == ReadRequest::What::after_offset && !request.pattern.is_exact()) {
      request = ReadRequest(pattern(patterns()[pick(0, patterns().size() - 1)]));
    }
    request.what = what;
    request.events_max = pick(1, 6);
    request.bytes_max = pick(0, 2) == 0 ? pick(0, 400) : std::size_t{1} << 20;
    if (reads_with_filters_) add_filter(request);
    return request;
  }

  /// Hides some topics from one of three requests that can have a filter: a client that may read one topic by
  /// name has none for it.
  void add_filter(ReadRequest& request) {
    const auto pick_here = [&](std::size_t max) { return filter_random_() % (max + 1); };
    if (request.pattern.is_exact() || pick_here(2) != 0) return;
    std::vector<Pattern> readable;
    for (auto count = 1 + pick_here(2); count > 0; --count) {
      readable.push_back(pattern(patterns()[pick_here(patterns().size() - 1)]));
    }
    request.filter = std::make_shared<const TopicFilter>(std::move(readable));
  }

  void read_values() {
    ReadRequest request = some_request(ReadRequest::What::retained);
    const bool still = pick(0, 1) == 0;
    std::map<std::string, std::uint64_t> given;
    for (int slices = 0;; ++slices) {
      ASSERT_LT(slices, 200);
      const ReadSlice slice = read(store(), request);
      model_->collect();
      ASSERT_TRUE(slice.end == ReadSlice::End::complete || slice.end == ReadSlice::End::more);
      for (const StoredEvent& stored : slice.events) {
        const std::string topic(stored.topic);
        ASSERT_TRUE(given.empty() || given.rbegin()->first < topic) << "in name order";
        ASSERT_EQ(stamp_of(stored).position, values()[topic]);
        given[topic] = stamp_of(stored).position;
      }
      if (slice.end == ReadSlice::End::complete) break;
      request.cursor = slice.cursor;
      if (!still) change();
    }
    if (!still) return;
    std::map<std::string, std::uint64_t> expected;
    for (const auto& [topic, position] : values()) {
      if (request.includes(topic)) expected[topic] = position;
    }
    EXPECT_EQ(given, expected);
  }

  std::map<std::string, std::uint64_t> values() const {
    std::map<std::string, std::uint64_t> all;
    for (const ModelRecord& record : model_->records()) {
      if (record.is_value) all[record.topic] = record.position;
    }
    return all;
  }

  void read_history() {
    ReadRequest request =
        some_request(std::vector{ReadRequest::What::after_position, ReadRequest::What::after_offset,
                                 ReadRequest::What::since_time}[pick(0, 2)]);
    const std::uint64_t last = numbering_.position();
    // Often near the end, where nothing is gone.
    request.position =
        pick(0, 1) == 0 ? pick(0, last + 2) : last - std::min<std::uint64_t>(last, pick(0, 30));
    request.offset = pick(0, last / 3 + 1);
    request.since_ns =
        wall_ns_ - static_cast<std::int64_t>(pick(0, pick(0, 1) == 0 ? 2000 : 200'000)) * 1'000'000;
    if (pick(0, 4) == 0) request.until_position = pick(1, last + 1);
    request.partial = partial_random_() % 3 == 0;
    std::int64_t since = model_->store_time(request.since_ns);
    const bool still = pick(0, 2) == 0;

    std::uint64_t through = 0;  // everything that matches up to it was returned
    if (request.what == ReadRequest::What::after_position) through = request.position;
    const std::uint64_t until =
        request.until_position == 0 ? std::numeric_limits<std::uint64_t>::max() : request.until_position;
    const auto expected = [&](const ModelRecord& record) {
      return request.includes(record.topic) && record.position > through &&
             (request.what != ReadRequest::What::since_time || record.time >= since) &&
             (request.what != ReadRequest::What::after_offset || record.offset > request.offset);
    };

    for (int slices = 0;; ++slices) {
      ASSERT_LT(slices, 5000);
      const ReadSlice slice = read(store(), request);
      model_->collect();
      const auto& records = model_->records();

      std::uint64_t lost = 0;
      std::uint64_t lost_offset = 0;
      std::uint64_t first_lost = std::numeric_limits<std::uint64_t>::max();
      std::vector<std::uint64_t> next;
      for (const ModelRecord& record : records) {
        if (!expected(record)) continue;
        if (!record.in_history) {
          first_lost = std::min(first_lost, record.position);
          lost = record.position;
          lost_offset = record.offset;
        } else if (record.position <= until) {
          next.push_back(record.position);
        }
      }
      if (request.partial) {
        ASSERT_NE(slice.end, ReadSlice::End::gone);
        lost = 0;
        first_lost = std::numeric_limits<std::uint64_t>::max();
      }
      if (slice.end == ReadSlice::End::gone) {
        ASSERT_NE(lost, 0u) << "gone, although everything is stored";
        // A store that searches for the last loss in several slices may miss what was lost since the first.
        if (finds_losses_late() && !still) {
          ASSERT_GT(slice.first_available, first_lost);
          ASSERT_LE(slice.first_available, lost + 1);
        } else {
          ASSERT_EQ(slice.first_available, lost + 1);
        }
        if (request.pattern.is_exact() && slice.first_available == lost + 1) {
          ASSERT_EQ(slice.first_available_offset, lost_offset + 1);
        }
        ASSERT_TRUE(slice.events.empty());
        return;
      }
      const bool is_checking =
          slice.end == ReadSlice::End::more && slice.events.empty() && slice.through_position <= through;
      if (finds_losses_late()) {
        ASSERT_TRUE(first_lost > until || slice.through_position < first_lost)
            << "something is gone but was not reported";
      } else if (!is_checking) {
        ASSERT_EQ(lost, 0u) << "something is gone but was not reported";
      }

      const std::vector<std::uint64_t> given = positions(slice);
      ASSERT_LE(given.size(), request.events_max);
      ASSERT_LE(given.size(), next.size());
      ASSERT_TRUE(std::equal(given.begin(), given.end(), next.begin())) << "in order, none missing";
      if (slice.end == ReadSlice::End::complete) {
        ASSERT_EQ(given.size(), next.size());
        ASSERT_EQ(slice.through_position, std::min(until, numbering_.position()));
        return;
      }
      ASSERT_EQ(slice.end, ReadSlice::End::more);
      if (given.size() < next.size()) {
        ASSERT_LT(slice.through_position, next[given.size()]);
      }
      if (!given.empty()) {
        ASSERT_GE(slice.through_position, given.back());
      }
      through = std::max(through, slice.through_position);
      request.cursor = slice.cursor;
      // Not for ever: a slice that examines one event would never catch up.
      for (std::size_t changes = still || slices > 20 ? 0 : pick(0, 4); changes > 0; --changes) change();
      if (::testing::Test::HasFatalFailure()) return;
    }
  }

  std::mt19937 random_;
  std::mt19937 filter_random_{random_};  // of its own: filters change nothing else of a walk
  std::mt19937 partial_random_{filter_random_};
  bool reads_with_filters_{true};
  std::vector<std::string> topics_;
  Numbering numbering_;
  std::int64_t wall_ns_{1'000'000'000'000};
  std::unique_ptr<HistoryModel> model_;
};

}  // namespace backplane::broker::testing
