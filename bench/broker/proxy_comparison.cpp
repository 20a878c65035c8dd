// One publisher, one SUB, two frames of a 12-byte topic and an Event with a 128-byte payload: the same load
// through libzmq's own proxy and through a broker with everything switched on, in turns, in one run.
//
//   bench_broker_proxy [events a run] [pairs] [events under way at most]     (backplane stands in the same
//   folder)
//
// At most 4,096 events are under way at a time, which both have room for: so all arrive with either, and both
// do the same work. Without that bound (0) the publisher outruns the subscriber, who shares the machine with
// it; the proxy then waits for the subscriber as long as it takes, and the broker, which lets nobody hold up
// the others for long (docs/decisions/0002-bounded-blocking.md), works on events of which some are lost at
// the end. Both have the broker's marks: a longer queue is further from the caches.
//
// Prints the rate end to end and the CPU time of the process in the middle. What else the machine does
// changes from second to second: so the runs are short and come in pairs, each of the two first in every
// other pair, and what counts is the median of the pairs' ratios.

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
      "median: zmq_proxy {:.0f} k/s {:.0f} ns, broker {:.0f} k/s {:.0f} ns; of a pair: rate {:.2f} of the "
      "proxy's ({:.2f} to {:.2f}), CPU {:.2f}\n",
      median(rates[0]), median(costs[0]), median(rates[1]), median(costs[1]), median(rate_ratios), *least,
      *most, median(cost_ratios));
  return 0;
}
