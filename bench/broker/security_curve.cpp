// A broker with CURVE and a policy beside one without: CPU time of the broker per event and per delivery, and
// the rate, with the same events in alternating runs.
//
//   bench_security_curve [events per run] [rounds]     (backplane is in the same folder)
//
// One publisher, 1 and 8 SUB sockets, and events of two frames (a 12-byte topic; an Event with a 128-byte
// payload), at most 4,096 in transit. With CURVE, the publisher's role has 16 patterns of topics, of which
// the last one matches. The broker remembers about 16,000 decisions: with 100,000 topics, most are made anew.
//
// Figures are medians of the rounds (and the extremes); ratios compare runs of the same round. The rate
// depends on the machine, which the publisher and the subscribers share with the broker, and decrypt on.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "bench/broker/middle.hpp"
#include "bench/broker/pair.hpp"
#include "bench/median.hpp"
#include "core/credentials/key.hpp"
#include "core/credentials/key_file.hpp"

namespace {

using namespace backplane;
using namespace backplane::bench;

[[noreturn]] void exit_with_error(const std::string& what) {
  fmt::print(stderr, "bench_security_curve: {}\n", what);
  std::exit(1);
}

/// A broker's policy and key in a folder of its own, and the keys of its users.
class Secured {
 public:
  Secured() {
    if (::mkdtemp(folder_.data()) == nullptr) exit_with_error("cannot create a folder");
    const SecretKey broker = make_secret_key();
    const SecretKey publisher_secret = make_secret_key();
    const SecretKey subscriber_secret = make_secret_key();
    if (auto written = write_key_files(key_files(folder_ + "/broker"), broker); !written) {
      exit_with_error(written.error().text);
    }
    publisher = {publisher_secret.bytes(), publisher_secret.public_key().bytes, broker.public_key().bytes};
    subscriber = {subscriber_secret.bytes(), subscriber_secret.public_key().bytes, broker.public_key().bytes};
    std::string policy = fmt::format(
        "[users.publisher]\ncurve = '{}'\nroles = ['publishers']\n"
        "[users.subscriber]\ncurve = '{}'\nroles = ['subscribers']\n"
        "[roles.subscribers]\nsubscribe = ['>']\n"
        "[roles.publishers]\npublish = [",
        to_text(publisher_secret.public_key()), to_text(subscriber_secret.public_key()));
    for (int other = 1; other < 16; ++other) policy += fmt::format("'other{}.>', ", other);
    std::ofstream(folder_ + "/policy.toml") << policy << "'bench.>']\n";
    std::ofstream(config()) << fmt::format("policy = '{0}/policy.toml'\nkey = '{0}/broker.key'\n", folder_);
  }
  ~Secured() { std::filesystem::remove_all(folder_); }
  Secured(const Secured&) = delete;
  Secured& operator=(const Secured&) = delete;

  [[nodiscard]] std::string config() const { return folder_ + "/broker.toml"; }

  mq::CurveClient publisher{};
  mq::CurveClient subscriber{};

 private:
  std::string folder_ = (std::filesystem::temp_directory_path() / "backplane-bench-XXXXXX").string();
};

struct Shape {
  std::size_t subscribers;
  std::size_t topics;
};

/// The figures of the rounds of one shape, one way.
struct Rounds {
  std::vector<double> event_ns;
  std::vector<double> delivery_ns;
  std::vector<double> k_events_a_second;
};

/// [0]: plain, [1]: CURVE.
std::array<Rounds, 2> run(const Shape& shape, std::uint64_t events, int rounds, const Secured& secured) {
  std::array<Rounds, 2> all;
  for (int round = 0; round < rounds; ++round) {
    for (const int which : {round % 2, 1 - round % 2}) {
      const bool curve = which == 1;
      const PairLoad load{.events = events,
                          .subscribers = shape.subscribers,
                          .topics = shape.topics,
                          .publisher_keys = curve ? &secured.publisher : nullptr,
                          .subscriber_keys = curve ? &secured.subscriber : nullptr};
      const PairOutcome outcome = run_pair(
          [&](int ready_fd) { run_broker(ready_fd, curve ? secured.config() : std::string()); }, load);
      if (outcome.received != events) {
        exit_with_error(fmt::format("{} events of {} arrived", outcome.received, events));
      }
      Rounds& of = all[curve ? 1 : 0];
      of.event_ns.push_back(outcome.busy_cpu_ns_an_event);
      of.delivery_ns.push_back(outcome.busy_cpu_ns_an_event / static_cast<double>(shape.subscribers));
      of.k_events_a_second.push_back(outcome.events_a_second / 1e3);
    }
  }
  return all;
}

void print(const Shape& shape, const std::array<Rounds, 2>& all) {
  for (const bool curve : {false, true}) {
    const Rounds& of = all[curve ? 1 : 0];
    fmt::print("{:>11} {:>8} {:<6} {:>22} {:>22} {:>18} {:>18}\n", shape.subscribers, shape.topics,
               curve ? "CURVE" : "plain", with_extremes(spread(of.event_ns), 0),
               with_extremes(spread(of.delivery_ns), 0), with_extremes(spread(of.k_events_a_second), 0),
               curve ? with_extremes(ratio(of.event_ns, all[0].event_ns), 2) : "");
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t events = argc > 1 ? std::max(1ULL, std::strtoull(argv[1], nullptr, 10)) : 200'000;
  const int rounds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 5;
  const Secured secured;
  constexpr std::array<Shape, 4> shapes{{{1, 1}, {1, 10'000}, {1, 100'000}, {8, 1}}};
  fmt::print("The broker's CPU time, {} rounds of {} events\n", rounds, events);
  fmt::print("{:>11} {:>8} {:<6} {:>22} {:>22} {:>18} {:>18}\n", "subscribers", "topics", "", "ns an event",
             "ns a delivery", "k events/s", "CPU, of plain");
  std::vector<std::array<Rounds, 2>> figures;
  for (const Shape& shape : shapes) print(shape, figures.emplace_back(run(shape, events, rounds, secured)));
  for (const bool curve : {false, true}) {
    const auto which = static_cast<std::size_t>(curve ? 1 : 0);
    const double more = median(figures.back()[which].event_ns) - median(figures.front()[which].event_ns);
    fmt::print("{}: each further subscriber adds {:.0f} ns to an event\n", curve ? "CURVE" : "plain",
               more / static_cast<double>(shapes.back().subscribers - shapes.front().subscribers));
  }
  return 0;
}
