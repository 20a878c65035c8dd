// The cost of the pipeline's steps (admit, stamp, store) for events with a 128-byte payload over 100,000
// topics.

#include "broker/pipeline.hpp"

#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "backplane/v1/event.pb.h"
#include "broker/state/memory_history.hpp"
#include "core/time/duration.hpp"

namespace backplane::broker {
namespace {

constexpr std::size_t topics = 100'000;

/// Discards what is published.
class Nowhere final : public EgressSink {
 public:
  void publish(zmq::message_t& topic, zmq::message_t& event) override {
    bytes += event.size();
    topic.rebuild();
    event.rebuild();
  }
  std::size_t bytes{};
};

/// Makes the two frames of each event, as a socket returns them.
class Frames {
 public:
  explicit Frames(std::size_t topic_count) {
    for (std::size_t i = 0; i < topic_count; ++i) {
      names_.push_back(fmt::format("bench.topic.{:06}", i * 7919 % topic_count));
    }
    v1::Event event;
    event.set_source("bench@host");
    event.set_session(7);
    event.set_sequence(std::uint64_t{1} << 28);
    event.mutable_time()->set_seconds(1'700'000'000);
    event.set_binary(std::string(128, 'x'));
    event_ = event.SerializeAsString();
  }

  void next(zmq::message_t& topic, zmq::message_t& event) {
    // Numbers are written by hand, five bytes wide: the benchmark measures the broker, not protobuf.
    constexpr std::size_t sequence_at = 2 + 10 + 9 + 1;
    std::uint64_t number = (std::uint64_t{1} << 28) + ++sequence_;
    for (std::size_t i = 0; i < 5; ++i, number >>= 7) {
      event_[sequence_at + i] = static_cast<char>((number & 0x7f) | (i < 4 ? 0x80 : 0));
    }
    const std::string& name = names_[sequence_ % names_.size()];
    topic.rebuild(name.data(), name.size());
    event.rebuild(event_.data(), event_.size());
  }

 private:
  std::vector<std::string> names_;
  std::string event_;
  std::uint64_t sequence_{};
};

/// The benchmark's own share of the figures below.
void frames_alone(benchmark::State& bench) {
  Frames frames(static_cast<std::size_t>(bench.range(0)));
  zmq::message_t topic;
  zmq::message_t event;
  for (auto _ : bench) {
    frames.next(topic, event);
    benchmark::DoNotOptimize(event.data());
  }
}
BENCHMARK(frames_alone)->Arg(1)->Arg(1'000)->Arg(topics);

/// range(0): topics; range(1): events per batch.
void admit_stamp_remember(benchmark::State& bench) {
  const auto topic_count = static_cast<std::size_t>(bench.range(0));
  HistoryLimits limits;
  limits.otherwise.history_events = 16;
  BackplaneState state("bench", topics + 1, 16, std::make_unique<MemoryHistory>(limits));
  state.stream = 1;
  state.max_event_bytes = 1u << 20;
  Nowhere nowhere;
  Access access;
  Pipeline pipeline(state, access, nowhere, unix_now_ns);
  Frames frames(topic_count);
  zmq::message_t topic;
  zmq::message_t event;
  const auto batch = static_cast<std::size_t>(bench.range(1));
  const auto take = [&] {
    frames.next(topic, event);
    pipeline.take(topic, event);
    if (pipeline.pending() == batch) benchmark::DoNotOptimize(pipeline.flush());
  };
  for (std::size_t i = 0; i < 20 * topic_count + batch; ++i)
    take();  // steady state: the history of every topic is full
  if (state.counters.published_total == 0) bench.SkipWithError("the events were refused");
  for (auto _ : bench) take();
  bench.SetItemsProcessed(static_cast<std::int64_t>(bench.iterations()));
}
BENCHMARK(admit_stamp_remember)->Args({1, 256})->Args({1'000, 256})->Args({topics, 256});

}  // namespace
}  // namespace backplane::broker
