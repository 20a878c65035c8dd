// The cost of Publisher::offer() for the calling thread, for events with a 128-byte payload (a typed message;
// text), with a broker that takes the events meanwhile, and without one, when no other thread uses the queue.
//
//   bench_publisher [events per run] [runs]
//
// Prints medians in ns per call: CPU time of the calling thread, and elapsed time.

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "backplane/events/v1/text_message.pb.h"
#include "backplane/publisher.hpp"
#include "bench/broker/middle.hpp"
#include "bench/median.hpp"

namespace {

using namespace std::chrono_literals;
using backplane::Offer;
using backplane::Publisher;
using backplane::bench::median;
using Clock = std::chrono::steady_clock;

constexpr std::size_t payload_bytes = 128;
// A whole run fits into the queue, so no call waits for room.
constexpr std::size_t unconfirmed_bytes_max = 1u << 30;

struct Figures {
  std::vector<double> cpu_ns;
  std::vector<double> wall_ns;
};

double thread_cpu_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

template <class OfferOne>
void measure(int events, Figures& figures, OfferOne offer_one) {
  const auto begin = Clock::now();
  const double cpu = thread_cpu_ns();
  for (int i = 0; i < events; ++i) {
    if (offer_one() != Offer::accepted) throw std::runtime_error("an event was not accepted");
  }
  figures.cpu_ns.push_back((thread_cpu_ns() - cpu) / events);
  figures.wall_ns.push_back(std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / events);
}

/// A message that takes `payload_bytes` on the wire.
backplane::events::v1::TextMessage typed_message() {
  backplane::events::v1::TextMessage message;
  while (message.ByteSizeLong() < payload_bytes) message.mutable_text()->push_back('x');
  return message;
}

void run(int events, int runs, const std::optional<backplane::bench::Endpoints>& broker) {
  Figures typed;
  Figures text;
  const auto message = typed_message();
  const std::string words(payload_bytes, 'x');
  for (int i = 0; i < 2 * runs; ++i) {
    Publisher::Options options;
    options.source = "bench@host";
    options.unconfirmed_bytes_max = unconfirmed_bytes_max;
    options.brokers = {{.ingress = "tcp://127.0.0.1:1", .control = "tcp://127.0.0.1:1"}};
    if (broker) options.brokers = {{broker->ingress, broker->control}};
    Publisher publisher(options);
    if (broker && !publisher.wait_ready(10s)) throw std::runtime_error("no broker replied");
    if (i % 2 == 0) {
      measure(events, typed, [&] { return publisher.offer("bench.offer", message); });
    } else {
      measure(events, text, [&] { return publisher.offer_text("bench.offer", words); });
    }
    if (broker && !publisher.close(60s)) throw std::runtime_error(publisher.status().last_problem);
  }
  for (const auto& [kind, figures] : {std::pair{"typed", &typed}, {"text", &text}}) {
    fmt::print("{:<10} {:<6} cpu {:>6.0f} ns   clock {:>6.0f} ns\n", broker ? "broker" : "no broker", kind,
               median(figures->cpu_ns), median(figures->wall_ns));
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int events = argc > 1 ? std::atoi(argv[1]) : 500'000;
    const int runs = argc > 2 ? std::atoi(argv[2]) : 5;
    if (events <= 0 || runs <= 0) throw std::runtime_error("usage: bench_publisher [events per run] [runs]");
    run(events, runs, std::nullopt);
    backplane::bench::Middle middle([](int ready_fd) { backplane::bench::run_broker(ready_fd); });
    run(events, runs, middle.endpoints);
    middle.end();
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_publisher: {}\n", error.what());
    return 1;
  }
}
