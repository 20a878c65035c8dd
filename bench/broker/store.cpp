// The store on disk beside the one in memory: every figure that it is to reach, in one run.
//
//   ./dev bench store [OPTION…]       or       build/release/bin/bench_broker_store [OPTION…]
//
//   --only PART          rate, latency, append, large or written (default: all, in this order)
//   --runs N             of each measurement; the medians are printed (default 5)
//   --events N           in the large store (default 100,000,000; about 27 GB of disk)
//   --topics N           in the stores without a broker (default 100,000)
//   --rate-events N      per run of the whole broker (default 1,000,000)
//   --seconds N          per run of latency (default 5)
//   --directory DIR      for the stores: a new folder in it is used and removed (default /var/tmp)
//   --short              the same as --runs 3 --events 5000000 --rate-events 500000 --seconds 3
//
// The full size takes about 20 minutes on two cores. Figures are only as good as the machine is quiet: its
// load average is printed at the beginning and at the end. Ends with 1 if a target is missed.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "bench/broker/store_alone.hpp"
#include "bench/broker/store_whole.hpp"
#include "core/log/log.hpp"

namespace {

struct Options {
  std::string only;
  std::string directory{"/var/tmp"};
  int runs{5};
  std::uint64_t events{100'000'000};
  std::size_t topics{100'000};
  std::uint64_t rate_events{1'000'000};
  double seconds{5};
};

constexpr std::uint64_t stored_bytes_an_event = 290;  // on disk, with room for what the kills add

[[noreturn]] void refuse(const std::string& text) {
  fmt::print(stderr, "bench_broker_store: {}\n", text);
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--short") {
      options.runs = 3;
      options.events = 5'000'000;
      options.rate_events = 500'000;
      options.seconds = 3;
      continue;
    }
    if (i + 1 == argc) refuse(fmt::format("expected a value after {}", name));
    const std::string value = argv[++i];
    const std::uint64_t number = std::strtoull(value.c_str(), nullptr, 10);
    if (name == "--only") {
      options.only = value;
    } else if (name == "--directory") {
      options.directory = std::filesystem::absolute(value);
    } else if (number == 0) {
      refuse(fmt::format("{}: expected a number above 0, got \"{}\"", name, value));
    } else if (name == "--runs") {
      options.runs = static_cast<int>(number);
    } else if (name == "--events") {
      options.events = number;
    } else if (name == "--topics") {
      options.topics = number;
    } else if (name == "--rate-events") {
      options.rate_events = number;
    } else if (name == "--seconds") {
      options.seconds = static_cast<double>(number);
    } else {
      refuse(fmt::format("unknown option {}", name));
    }
  }
  return options;
}

void print_load(std::string_view when) {
  double load[1]{};
  if (::getloadavg(load, 1) < 1) return;
  fmt::print("load average {}: {:.2f} on {} processors\n", when, load[0],
             std::thread::hardware_concurrency());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace backplane::bench;
  backplane::log::set_level(backplane::log::Level::warning);
  const Options options = parse(argc, argv);
  const auto includes = [&](std::string_view part) { return options.only.empty() || options.only == part; };
  const auto room = std::filesystem::space(options.directory).available;
  if (includes("large") && options.events * stored_bytes_an_event > room) {
    refuse(fmt::format("{} has {} GB left, {} events take {} GB: see --events and --directory",
                       options.directory, room / 1'000'000'000, options.events,
                       options.events * stored_bytes_an_event / 1'000'000'000));
  }
  const std::string directory = fmt::format("{}/backplane-bench-store-{}", options.directory, ::getpid());
  std::filesystem::create_directory(directory);

  print_load("before");
  const WholeOptions whole{.directory = directory,
                           .runs = options.runs,
                           .events = options.rate_events,
                           .seconds = options.seconds};
  AloneOptions alone{
      .directory = directory, .runs = options.runs, .events = options.events, .topics = options.topics};
  int missed = 0;
  if (includes("rate")) missed += compare_rates(whole);
  if (includes("latency")) missed += compare_latencies(whole);
  alone.runs = std::min(alone.runs, 3);
  if (includes("append")) missed += compare_appends(alone);
  if (includes("large")) missed += measure_large_store(alone);
  if (includes("written")) missed += measure_written_bytes(alone);
  std::filesystem::remove_all(directory);
  fmt::print("\n");
  print_load("after");
  fmt::print("{}\n", missed == 0 ? "every target is reached" : fmt::format("targets missed: {}", missed));
  return missed == 0 ? 0 : 1;
}
