// The cost of the pipeline's steps (admit, stamp, store) for events with a 128-byte payload over 100,000
// topics, without and with a policy; and the cost of finding the user of an event.

#include "broker/pipeline.hpp"

#include <memory>
#include <string>
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

/// Fifty users, each with a role of its own with 16 patterns, of which the last one matches.
std::shared_ptr<const policy::Policy> some_policy() {
  std::string text;
  for (int user = 0; user < 50; ++user) {
    text += fmt::format("[users.u{0}]\ncertificate = \"{0}\"\nroles = [\"r{0}\"]\n", user);
    text += fmt::format("[roles.r{}]\npublish = [", user);
    for (int other = 1; other < 16; ++other) text += fmt::format("\"bench.other{}.>\", ", other);
    text += "\"bench.topic.>\"]\n";
  }
  return std::make_shared<const policy::Policy>(policy::Policy::parse(text, "policy.toml").value());
}

/// A message of user "u7", whom a ZAP handler has authenticated.
zmq::message_t message_of_a_user(zmq::context_t& context) {
  zmq::socket_t zap(context, zmq::socket_type::rep);
  zap.bind("inproc://zeromq.zap.01");
  zmq::socket_t server(context, zmq::socket_type::pull);
  server.set(zmq::sockopt::plain_server, 1);
  server.set(zmq::sockopt::zap_domain, "bench");
  server.bind("tcp://127.0.0.1:*");
  zmq::socket_t client(context, zmq::socket_type::push);
  client.set(zmq::sockopt::plain_username, "u7");
  client.set(zmq::sockopt::plain_password, "any");
  client.connect(server.get(zmq::sockopt::last_endpoint));

  std::vector<std::string> request;
  zmq::message_t frame;
  do {
    if (!zap.recv(frame)) return {};
    request.push_back(frame.to_string());
  } while (frame.more());
  const std::vector<std::string> reply{"1.0", request.at(1), "200", "OK", "u7"};
  for (const std::string& each : reply) zap.send(zmq::buffer(each), zmq::send_flags::sndmore);
  zap.send(zmq::message_t(), zmq::send_flags::none);

  client.send(zmq::str_buffer("x"), zmq::send_flags::none);
  zmq::message_t message;
  if (!server.recv(message)) return {};
  return message;
}

/// What each event costs before the pipeline has it, if there is a policy.
void find_user(benchmark::State& bench) {
  zmq::context_t context;
  zmq::message_t message = message_of_a_user(context);
  Access access(some_policy());
  if (access.user_of(message) == nullptr) bench.SkipWithError("the message has no user");
  for (auto _ : bench) benchmark::DoNotOptimize(access.user_of(message));
}
BENCHMARK(find_user);

/// The pipeline's part of it: a decision that is cached, of range(0) topics in turn.
void decide(benchmark::State& bench) {
  Access access(some_policy());
  const policy::User* const user = access.user_of_name("u7");
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < bench.range(0); ++i) names.push_back(fmt::format("bench.topic.{:06}", i));
  std::size_t at = 0;
  for (auto _ : bench) {
    benchmark::DoNotOptimize(access.may_publish(user, names[at]));
    if (++at == names.size()) at = 0;
  }
}
BENCHMARK(decide)->Arg(1)->Arg(1'000);

/// range(0): topics; range(1): events per batch; range(2): whether there is a policy.
void admit_stamp_remember(benchmark::State& bench) {
  const auto topic_count = static_cast<std::size_t>(bench.range(0));
  HistoryLimits limits;
  limits.otherwise.history_events = 16;
  BackplaneState state("bench", topics + 1, 16, std::make_unique<MemoryHistory>(limits));
  state.stream = 1;
  state.max_event_bytes = 1u << 20;
  Nowhere nowhere;
  Access access(bench.range(2) == 0 ? nullptr : some_policy());
  const policy::User* const user = access.user_of_name("u7");
  Pipeline pipeline(state, access, nowhere, unix_now_ns);
  Frames frames(topic_count);
  zmq::message_t topic;
  zmq::message_t event;
  const auto batch = static_cast<std::size_t>(bench.range(1));
  const auto take = [&] {
    frames.next(topic, event);
    pipeline.take(topic, event, nullptr, user);
    if (pipeline.pending() == batch) benchmark::DoNotOptimize(pipeline.flush());
  };
  for (std::size_t i = 0; i < 20 * topic_count + batch; ++i)
    take();  // steady state: the history of every topic is full
  if (state.counters.published_total == 0) bench.SkipWithError("the events were refused");
  for (auto _ : bench) take();
  bench.SetItemsProcessed(static_cast<std::int64_t>(bench.iterations()));
}
BENCHMARK(admit_stamp_remember)
    ->ArgNames({"topics", "batch", "policy"})
    ->Args({1, 256, 0})
    ->Args({1, 256, 1})
    ->Args({1'000, 256, 0})
    ->Args({1'000, 256, 1})
    ->Args({topics, 256, 0})
    ->Args({topics, 256, 1});

}  // namespace
}  // namespace backplane::broker
