#include "bench/broker/store_whole.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <sys/prctl.h>
#include <zmq.hpp>

#include "backplane/v1/event.pb.h"
#include "bench/broker/middle.hpp"
#include "bench/broker/pair.hpp"
#include "bench/median.hpp"

namespace backplane::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double events_a_second = 10'000;
constexpr double late_us_target = 50;
constexpr auto warm_up = std::chrono::milliseconds{500};

/// The configuration of one run, with an empty store. Removes both when it ends.
class Run {
 public:
  Run(const WholeOptions& options, const StoreVariant& variant)
      : store_(options.directory + "/whole"), config_(options.directory + "/whole.toml") {
    std::filesystem::remove_all(store_);
    std::ofstream file(config_);
    file << "[[backplane]]\n";
    if (!variant.settings.empty()) {
      file << "store = \"file\"\nstore_path = \"" << store_ << "\"\n" << variant.settings << "\n";
    }
  }
  ~Run() {
    std::filesystem::remove_all(store_);
    std::filesystem::remove(config_);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  [[nodiscard]] const std::string& config() const { return config_; }

 private:
  std::string store_;
  std::string config_;
};

/// Of the values of each variant, those of the run at the same index are compared.
std::vector<double> ratios(const std::vector<double>& values, const std::vector<double>& of_memory) {
  std::vector<double> made;
  for (std::size_t i = 0; i < values.size(); ++i) made.push_back(values[i] / of_memory[i]);
  return made;
}

std::string range(const std::vector<double>& values, const char* format) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return fmt::format("{} to {}", fmt::format(fmt::runtime(format), *least),
                     fmt::format(fmt::runtime(format), *most));
}

std::string_view verdict(bool reached) {
  return reached ? "reached" : "MISSED";
}

struct Latencies {
  double p50_us{};
  double p99_us{};
};

Latencies measure_latency(const std::string& config, double seconds) {
  Middle broker([&](int ready_fd) { run_broker(ready_fd, config); });
  zmq::context_t context(2);
  zmq::socket_t subscriber(context, zmq::socket_type::sub);
  subscriber.set(zmq::sockopt::rcvhwm, 0);
  subscriber.set(zmq::sockopt::subscribe, "bench.");
  subscriber.connect(broker.endpoints.egress);
  zmq::socket_t publisher(context, zmq::socket_type::xpub);
  publisher.set(zmq::sockopt::sndhwm, 0);
  publisher.connect(broker.endpoints.ingress);
  zmq::message_t frame;
  if (!publisher.recv(frame)) std::exit(1);  // the broker's subscription: it is connected
  const auto send = [&](Clock::time_point at) {
    v1::Event event;
    event.set_source("bench@host");
    event.mutable_binary()->assign(120, 'x');
    const auto ns = at.time_since_epoch().count();
    event.mutable_binary()->append(reinterpret_cast<const char*>(&ns), sizeof ns);
    publisher.send(zmq::str_buffer("bench.topic1"), zmq::send_flags::sndmore);
    publisher.send(zmq::buffer(event.SerializeAsString()), zmq::send_flags::none);
  };
  subscriber.set(zmq::sockopt::rcvtimeo, 20);
  do {
    send({});  // until the subscription is active
  } while (!subscriber.recv(frame));
  subscriber.set(zmq::sockopt::rcvtimeo, 5'000);

  const auto events = static_cast<std::uint64_t>(seconds * events_a_second);
  const auto begin = Clock::now() + std::chrono::milliseconds{10};
  std::thread source([&] {
    ::prctl(PR_SET_TIMERSLACK, 1'000UL);  // the default would send events in pairs
    for (std::uint64_t i = 0; i < events; ++i) {
      const auto due = begin + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(static_cast<double>(i) / events_a_second));
      std::this_thread::sleep_until(due);
      send(Clock::now());
    }
  });
  std::vector<double> microseconds;
  v1::Event event;
  std::uint64_t received = 0;
  while (received < events && subscriber.recv(frame)) {
    if (frame.more()) continue;
    const auto now = Clock::now();
    if (!event.ParseFromArray(frame.data(), static_cast<int>(frame.size())) || event.binary().size() != 128)
      continue;
    Clock::rep ns = 0;
    event.binary().copy(reinterpret_cast<char*>(&ns), sizeof ns, 120);
    if (ns == 0) continue;
    ++received;
    const Clock::time_point sent{Clock::duration{ns}};
    if (sent - begin >= warm_up) {
      microseconds.push_back(std::chrono::duration<double, std::micro>(now - sent).count());
    }
  }
  source.join();
  broker.end();
  if (received != events || microseconds.empty()) {
    fmt::print(stderr, "{} events of {} arrived\n", received, events);
    std::exit(1);
  }
  std::ranges::sort(microseconds);
  return {microseconds[microseconds.size() / 2], microseconds[microseconds.size() * 99 / 100]};
}

}  // namespace

int compare_rates(const WholeOptions& options) {
  std::array<std::vector<double>, store_variants.size()> rates;
  std::array<std::vector<double>, store_variants.size()> costs;
  for (int i = 0; i < options.runs; ++i) {
    for (std::size_t k = 0; k < store_variants.size(); ++k) {
      const std::size_t which = (k + static_cast<std::size_t>(i)) % store_variants.size();
      const Run run(options, store_variants[which]);
      const PairOutcome outcome = run_pair([&](int ready_fd) { run_broker(ready_fd, run.config()); },
                                           options.events, pair_window_default);
      if (outcome.received != options.events) {
        fmt::print(stderr, "{} events of {} arrived\n", outcome.received, options.events);
        std::exit(1);
      }
      rates[which].push_back(outcome.events_a_second / 1e3);
      costs[which].push_back(outcome.cpu_ns_an_event);
    }
  }
  fmt::print(
      "\nRate of the whole broker: 1 publisher, 1 subscriber, 128 B; medians of {} runs of {} events\n",
      options.runs, options.events);
  fmt::print("  {:<14} {:>10} {:>12} {:>9} {:>16} {:>8}\n", "store", "k events/s", "CPU ns/event",
             "of memory", "range", "target");
  int missed = 0;
  for (std::size_t k = 0; k < store_variants.size(); ++k) {
    fmt::print("  {:<14} {:>10.0f} {:>12.0f}", store_variants[k].name, median(rates[k]), median(costs[k]));
    if (k == 0) {
      fmt::print("\n");
      continue;
    }
    const std::vector<double> of_memory = ratios(rates[k], rates[0]);
    const bool reached = median(of_memory) >= store_variants[k].rate_target;
    missed += reached ? 0 : 1;
    fmt::print(" {:>9.2f} {:>16} {:>8.2f}  {}\n", median(of_memory), range(of_memory, "{:.2f}"),
               store_variants[k].rate_target, verdict(reached));
  }
  std::fflush(stdout);
  return missed;
}

int compare_latencies(const WholeOptions& options) {
  std::array<std::vector<double>, store_variants.size()> p50;
  std::array<std::vector<double>, store_variants.size()> p99;
  for (int i = 0; i < options.runs; ++i) {
    for (std::size_t k = 0; k < store_variants.size(); ++k) {
      const std::size_t which = (k + static_cast<std::size_t>(i)) % store_variants.size();
      const Run run(options, store_variants[which]);
      const Latencies round = measure_latency(run.config(), options.seconds);
      p50[which].push_back(round.p50_us);
      p99[which].push_back(round.p99_us);
    }
  }
  fmt::print("\nDelivery at 10,000 events/s, from send to receive; medians of {} runs of {:.0f} s\n",
             options.runs, options.seconds);
  fmt::print("  {:<14} {:>10} {:>10} {:>16} {:>16} {:>8}\n", "store", "p50 us", "p99 us", "p50 later by us",
             "range", "target");
  int missed = 0;
  for (std::size_t k = 0; k < store_variants.size(); ++k) {
    fmt::print("  {:<14} {:>10.0f} {:>10.0f}", store_variants[k].name, median(p50[k]), median(p99[k]));
    if (k == 0) {
      fmt::print("\n");
      continue;
    }
    std::vector<double> later;
    for (std::size_t i = 0; i < p50[k].size(); ++i) later.push_back(p50[k][i] - p50[0][i]);
    // With `always`, an event is delivered after a sync: its time is the disk's.
    const bool has_target = k == 1;
    const bool reached = median(later) <= late_us_target;
    missed += has_target && !reached ? 1 : 0;
    fmt::print(" {:>16.0f} {:>16} {:>8}  {}\n", median(later), range(later, "{:.0f}"),
               has_target ? fmt::format("{:.0f}", late_us_target) : "-", has_target ? verdict(reached) : "");
  }
  std::fflush(stdout);
  return missed;
}

}  // namespace backplane::bench
