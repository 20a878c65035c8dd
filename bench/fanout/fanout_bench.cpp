// Compares the fan-out engine with the simplest possible epoll broadcast server: CPU time per delivery, of
// all threads of the server, by their own clocks. Both get the same batches, each when the one before has
// arrived. One thread reads from all clients.
//
//   bench_fanout [deliveries per run] [runs]
//
// The two take turns. Prints the medians of the runs, and their ratio.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "bench/fanout/raw_broadcast.hpp"
#include "bench/fanout/receivers.hpp"
#include "bench/fanout/workload.hpp"
#include "bench/median.hpp"
#include "fanout/engine.hpp"

namespace {

using backplane::bench::median;

using backplane::Descriptor;
using backplane::bench::IgnoringHandler;
using backplane::bench::Lines;
using backplane::bench::RawBroadcast;
using backplane::bench::Receivers;
using backplane::bench::thread_cpu_us;
using namespace backplane::fanout;

constexpr std::size_t batch_events = 64;

struct Shape {
  std::size_t clients;
  std::size_t topics;  ///< each topic has a route of its own
  std::size_t batches;
};

/// Calls batch() for a tenth of the batches without measuring, then for all of them. @returns CPU µs per
/// delivery.
template <class Batch, class Cpu>
double measure(const Shape& shape, Batch&& batch, Cpu&& cpu_us) {
  for (std::size_t i = 0; i < shape.batches / 10 + 1; ++i) batch();
  const double before = cpu_us();
  for (std::size_t i = 0; i < shape.batches; ++i) batch();
  return (cpu_us() - before) / static_cast<double>(shape.batches * batch_events * shape.clients);
}

double run_raw(const Shape& shape) {
  Receivers receivers(shape.clients);
  RawBroadcast raw(receivers.take_server_ends());
  Lines lines;
  std::string bytes;
  const auto batch = [&] {
    bytes.clear();
    for (std::size_t i = 0; i < batch_events; ++i) bytes += lines.next();
    receivers.expect(bytes.size() * shape.clients);
    raw.send(bytes);
    raw.serve_until_readable(receivers.arrived_fd());
    receivers.clear_arrived();
  };
  return measure(shape, batch, thread_cpu_us);
}

double run_engine(const Shape& shape) {
  Receivers receivers(shape.clients);
  Engine engine({});
  for (std::uint32_t topic = 0; topic < shape.topics; ++topic) {
    engine.set_route(RouteId{topic}, {AudienceId{topic}});
  }
  for (Descriptor& socket : receivers.take_server_ends()) {
    const ClientId client =
        engine.adopt(std::move(socket), [](Client&) { return std::make_unique<IgnoringHandler>(); });
    for (std::uint32_t topic = 0; topic < shape.topics; ++topic) engine.join(client, AudienceId{topic});
  }
  Lines lines;
  std::uint64_t offset = 0;
  const auto batch = [&] {
    receivers.expect(batch_events * Lines::bytes * shape.clients);
    for (std::size_t i = 0; i < batch_events; ++i) {
      const auto topic = static_cast<std::uint32_t>(i % shape.topics);
      engine.append(lines.next(), {TopicId{topic}, RouteId{topic}, ++offset});
    }
    engine.publish();
    receivers.wait();
  };
  const auto cpu_us = [&] {
    return thread_cpu_us() + std::chrono::duration<double, std::micro>(engine.cpu_time()).count();
  };
  return measure(shape, batch, cpu_us);
}

void compare(const Shape& shape, std::size_t runs) {
  std::vector<double> raw;
  std::vector<double> engine;
  for (std::size_t i = 0; i < runs; ++i) {
    raw.push_back(run_raw(shape));
    engine.push_back(run_engine(shape));
  }
  fmt::print("{:>8} {:>8} {:>12.4f} {:>12.4f} {:>8.2f}\n", shape.clients, shape.topics, median(raw),
             median(engine), median(engine) / median(raw));
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t deliveries = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 6'400'000;
  const std::size_t runs = argc > 2 ? std::max<std::size_t>(std::strtoull(argv[2], nullptr, 10), 1) : 3;
  backplane::bench::raise_file_limit();
  fmt::print("{:>8} {:>8} {:>12} {:>12} {:>8}\n", "clients", "topics", "raw us", "engine us", "ratio");
  for (const std::size_t clients : {100u, 1000u}) {
    for (const std::size_t topics : {1u, 16u}) {
      const std::size_t batches = std::max<std::size_t>(deliveries / (clients * batch_events), 1);
      compare({clients, topics, batches}, runs);
    }
  }
  return 0;
}
