// The cost of the broker's state per event: finding its topic, storing it, and replaying it.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "broker/state/memory_history.hpp"
#include "broker/state/session_table.hpp"
#include "broker/state/topic_table.hpp"

namespace {

using namespace backplane;
using namespace backplane::broker;

// A 128-byte message in an Event like those of `publish clock`: source, session, sequence, time, and the
// stamp.
constexpr std::size_t event_bytes = 220;
constexpr std::size_t batch_events = 64;

std::vector<std::string> topic_names(std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) {
    names.push_back("plant" + std::to_string(i % 17) + ".hall" + std::to_string(i % 301) + ".sensor" +
                    std::to_string(i));
  }
  return names;
}

/// The state of a backplane and a stream of events over its topics in random order.
class State {
 public:
  State(std::size_t topics, HistoryLimits limits) : store_(std::move(limits)) {
    const std::vector<std::string> names = topic_names(topics);
    for (const std::string& name : names) (void)table_.find_or_add(name);
    std::mt19937 random{1};
    // Contiguous in memory: events that come from a socket are in the caches.
    names_.resize(1u << 18);
    for (Name& name : names_) {
      const std::string& topic = names[random() % topics];
      name.bytes = static_cast<std::uint8_t>(topic.copy(name.text.data(), name.text.size()));
    }
    for (std::size_t i = 0; i < batch_events; ++i) events_.emplace_back(event_bytes);
  }

  /// Numbers, stamps and stores events in batches, as the pipeline does.
  void append_batch() {
    appends_.clear();
    for (std::size_t i = 0; i < batch_events; ++i) {
      const Name& name = names_[next_++ % names_.size()];
      const std::string_view topic(name.text.data(), name.bytes);
      TopicEntry& entry = *table_.find_or_add(topic);
      const wire::Stamp stamp{.stream = 1,
                              .position = ++position_,
                              .offset = ++entry.offset,
                              .previous = entry.position,
                              .received_ns = static_cast<std::int64_t>(position_) * 1000};
      entry.position = stamp.position;
      entry.received_ns = stamp.received_ns;
      table_.touched(entry);
      std::vector<std::byte>& event = events_[i];
      wire::write_stamp(stamp, std::span(event).last<wire::stamp_bytes>());
      appends_.push_back({topic, event, stamp, false, &entry.store_mark});
    }
    benchmark::DoNotOptimize(store_.append(appends_));
  }

  /// The part of append() that finds the topics.
  void touch_next() {
    const Name& name = names_[next_++ % names_.size()];
    TopicEntry& entry = *table_.find_or_add({name.text.data(), name.bytes});
    entry.position = ++position_;
    table_.touched(entry);
  }

  [[nodiscard]] MemoryHistory& store() { return store_; }
  [[nodiscard]] TopicTable& table() { return table_; }
  [[nodiscard]] std::uint64_t position() const { return position_; }

 private:
  struct Name {
    std::array<char, 47> text;
    std::uint8_t bytes;
  };
  std::vector<Name> names_;
  std::vector<std::vector<std::byte>> events_;
  std::vector<HistoryAppend> appends_;
  TopicTable table_{2'000'000};
  MemoryHistory store_;
  std::uint64_t position_{0};
  std::size_t next_{0};
};

// History is full from the start: each new event evicts one.
void append(benchmark::State& bench) {
  State state(static_cast<std::size_t>(bench.range(0)), HistoryLimits{});
  while (state.store().figures().evicted_events < 200'000) state.append_batch();
  for ([[maybe_unused]] auto turn : bench) state.append_batch();
  bench.SetItemsProcessed(bench.iterations() * static_cast<std::int64_t>(batch_events));
}
BENCHMARK(append)->Arg(100)->Arg(100'000)->Arg(1'000'000)->Unit(benchmark::kMicrosecond);

void find_topic(benchmark::State& bench) {
  State state(100'000, HistoryLimits{});
  for ([[maybe_unused]] auto turn : bench) state.touch_next();
}
BENCHMARK(find_topic);

void use_session(benchmark::State& bench) {
  SessionTable sessions(65'536);
  const std::vector<std::string> names = topic_names(10'000);
  std::size_t i = 0;
  bool is_new = false;
  for ([[maybe_unused]] auto turn : bench)
    benchmark::DoNotOptimize(sessions.use(names[i++ * 7919 % names.size()], 1, is_new));
}
BENCHMARK(use_session);

// A full history is replayed, 512 events per slice. The longest slice is the longest that a live event can
// have to wait.
void replay(benchmark::State& bench, const char* pattern) {
  State state(100'000, HistoryLimits{});
  while (state.store().figures().evicted_events < 200'000) state.append_batch();
  std::uint64_t events = 0;
  std::uint64_t slices = 0;
  std::chrono::nanoseconds longest{0};
  for ([[maybe_unused]] auto turn : bench) {
    ReadRequest request(Pattern::parse(pattern).value());
    request.what = ReadRequest::What::after_position;
    request.position = state.position() - state.store().figures().events;
    for (;;) {
      const auto before = std::chrono::steady_clock::now();
      benchmark::DoNotOptimize(state.store().start_read(request));
      const std::optional<ReadSlice> slice = state.store().next_slice();
      longest = std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - before);
      events += slice->events.size();
      ++slices;
      if (slice->end != ReadSlice::End::more) break;
      request.cursor = slice->cursor;
      // Live events continue to arrive and evict the oldest ones.
      if (slices % 8 == 0) state.append_batch();
    }
  }
  bench.counters["events"] = static_cast<double>(events) / static_cast<double>(bench.iterations());
  bench.counters["slices"] = static_cast<double>(slices) / static_cast<double>(bench.iterations());
  bench.counters["longest_us"] = static_cast<double>(longest.count()) / 1e3;
  bench.SetItemsProcessed(static_cast<std::int64_t>(events));
}
BENCHMARK_CAPTURE(replay, everything, ">")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(replay, one_hall, "*.hall7.>")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(replay, one_topic, "plant7.hall7.sensor7")->Unit(benchmark::kMillisecond);

// A pattern is checked against the losses of 1,000,000 topics; and retained values are read.
void ask_of_a_million_topics(benchmark::State& bench, const char* pattern, ReadRequest::What what) {
  HistoryLimits limits;
  limits.otherwise.history_events = 1;
  limits.bytes_max = std::size_t{1} << 30;
  State state(1'000'000, limits);
  while (state.position() < 3'000'000) state.append_batch();
  std::uint64_t slices = 0;
  std::chrono::nanoseconds longest{0};
  for ([[maybe_unused]] auto turn : bench) {
    ReadRequest request(Pattern::parse(pattern).value());
    request.what = what;
    request.position = 1;
    for (;;) {
      const auto before = std::chrono::steady_clock::now();
      benchmark::DoNotOptimize(state.store().start_read(request));
      const std::optional<ReadSlice> slice = state.store().next_slice();
      longest = std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - before);
      ++slices;
      if (slice->end != ReadSlice::End::more) break;
      request.cursor = slice->cursor;
    }
  }
  bench.counters["slices"] = static_cast<double>(slices) / static_cast<double>(bench.iterations());
  bench.counters["longest_us"] = static_cast<double>(longest.count()) / 1e3;
}
BENCHMARK_CAPTURE(ask_of_a_million_topics, gone_of_all, ">", ReadRequest::What::after_position)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ask_of_a_million_topics, values_of_one_hall, "*.hall7.>", ReadRequest::What::retained)
    ->Unit(benchmark::kMillisecond);

// Tails and listings of a million topics, page by page.
void tails_of_a_million_topics(benchmark::State& bench) {
  HistoryLimits limits;
  limits.bytes_max = 0;
  State state(1'000'000, limits);
  while (state.position() < 3'000'000) state.append_batch();
  const std::vector<Pattern> patterns{Pattern::parse("*.hall7.>").value()};
  std::mt19937_64 random{1};
  std::chrono::nanoseconds longest{0};
  for ([[maybe_unused]] auto turn : bench) {
    const auto before = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(state.table().changed_after(patterns, random() % state.position(), 512, 16'384));
    longest = std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - before);
  }
  bench.counters["longest_us"] = static_cast<double>(longest.count()) / 1e3;
}
BENCHMARK(tails_of_a_million_topics)->Unit(benchmark::kMicrosecond);

}  // namespace
