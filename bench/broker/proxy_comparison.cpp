// Compares a broker, with all its features on, to libzmq's own proxy: one publisher, one SUB, and events of
// two frames (a 12-byte topic; an Event with a 128-byte payload), in alternating runs.
//
//   bench_broker_proxy [events per run] [pairs] [events in transit]     (backplane is in the same folder)
//
// At most 4,096 events are in transit. Both have room for them, so both deliver every event and do the same
// work. Without this limit (0) the publisher is faster than the subscriber, which shares the machine with it.
// The proxy then waits for the subscriber without bound. The broker limits how long one subscriber can delay
// the others (docs/decisions/0002-bounded-blocking.md), and drops some events after working on them. Both
// have the broker's high-water marks, because the memory of a longer queue is less likely to be in the
// caches.
//
// Prints the end-to-end rate, and the CPU time of the process in the middle. The load of the machine changes
// within seconds. The runs are therefore short and come in pairs, whose order alternates, and the result is
// the median of the pairs' ratios.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <fmt/format.h>

#include "bench/broker/middle.hpp"
#include "bench/broker/pair.hpp"
#include "bench/median.hpp"

using namespace backplane::bench;

int main(int argc, char** argv) {
  const std::uint64_t events = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 500'000;
  const int pairs = argc > 2 ? std::max(1, std::atoi(argv[2])) : 15;
  const std::uint64_t window = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : pair_window_default;
  std::vector<double> rates[2];
  std::vector<double> costs[2];
  std::vector<double> rate_ratios;
  std::vector<double> cost_ratios;
  fmt::print("{:<4} {:<10} {:>12} {:>14} {:>10}\n", "pair", "middle", "k events/s", "CPU ns/event", "lost");
  for (int i = 0; i < pairs; ++i) {
    for (const int which : {i % 2, 1 - i % 2}) {
      const PairOutcome outcome = which == 0
                                      ? run_pair(run_proxy, events, window)
                                      : run_pair([](int ready_fd) { run_broker(ready_fd); }, events, window);
      rates[which].push_back(outcome.events_a_second / 1'000);
      costs[which].push_back(outcome.cpu_ns_an_event);
      fmt::print("{:<4} {:<10} {:>12.0f} {:>14.0f} {:>10}\n", i + 1, which == 0 ? "zmq_proxy" : "broker",
                 rates[which].back(), costs[which].back(), events - outcome.received);
      std::fflush(stdout);
    }
    rate_ratios.push_back(rates[1].back() / rates[0].back());
    cost_ratios.push_back(costs[1].back() / costs[0].back());
  }
  const auto [least, most] = std::minmax_element(rate_ratios.begin(), rate_ratios.end());
  fmt::print(
      "median: zmq_proxy {:.0f} k/s {:.0f} ns, broker {:.0f} k/s {:.0f} ns; ratios per pair: rate {:.2f} "
      "({:.2f} to {:.2f}), CPU {:.2f}\n",
      median(rates[0]), median(costs[0]), median(rates[1]), median(costs[1]), median(rate_ratios), *least,
      *most, median(cost_ratios));
  return 0;
}
