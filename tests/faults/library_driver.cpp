// The C++ libraries as processes, for fault tests. library_driver.py and library_driver.mjs are the same for
// Python and Node.
//
//   library_driver subscribe PACE_US EGRESS CONTROL [EGRESS CONTROL]… -- PATTERN…
//     prints a line for each item (records.py), waits PACE_US after each event; ends at SIGTERM
//   library_driver publish NAME TOPICS RATE PADDING INGRESS CONTROL [INGRESS CONTROL]…
//     publishes RATE events per second, "NAME 1", "NAME 2", … on load.NAME.<number % TOPICS>, each with
//     PADDING more bytes, until standard input ends; then flushes and prints how far it has come

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "backplane/client.hpp"
#include "backplane/publisher.hpp"

using namespace std::chrono_literals;
using backplane::Client;
using backplane::Offer;
using backplane::Publisher;
using Clock = std::chrono::steady_clock;
using Arguments = std::vector<std::string>;

namespace {

constexpr std::chrono::seconds flush_limit{30};

template <class... Parts>
void say(fmt::format_string<Parts...> format, Parts&&... parts) {
  fmt::print(format, std::forward<Parts>(parts)...);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

Client* running = nullptr;

void on_signal(int) {
  running->stop();
}

int subscribe(const Arguments& arguments) {
  const std::chrono::microseconds pace{std::stoll(arguments.at(0))};
  const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  Client::Options options;
  options.brokers.clear();
  for (auto it = arguments.begin() + 1; it < dashes; it += 2) options.brokers.push_back({it[0], it[1]});
  Client client(options);
  running = &client;
  std::signal(SIGTERM, on_signal);
  client.subscribe(std::vector<std::string>(dashes + 1, arguments.end()));

  Client::Callbacks callbacks;
  callbacks.on_event = [&](const Client::Event& event) {
    say(R"({{"topic":"{}","stream":"{:016x}","position":{},"offset":{},"text":"{}","late":{}}})",
        event.topic(), event.stream(), event.position(), event.offset(), event.content(), event.late());
    if (pace > 0us) std::this_thread::sleep_for(pace);
  };
  callbacks.on_gap = [](const Client::Gap& gap) {
    say(R"({{"gap":{{"topic":"{}","stream":"{:016x}","first":{},"last":{},"reason":"{}"}}}})", gap.topic,
        gap.stream, gap.first, gap.last, backplane::name(gap.reason));
  };
  callbacks.on_reset = [](const Client::Reset& reset) {
    say(R"({{"reset":{{"old":"{:016x}","stream":"{:016x}"}}}})", reset.old_stream, reset.new_stream);
  };
  callbacks.on_broker = [](const Client::Broker& broker) {
    say(R"({{"{}":{}}})", broker.up ? "live" : "wait", broker.index);
  };
  (void)client.run_for(24h, callbacks);
  say(R"({{"recovered":{}}})", client.status().recovered);
  return 0;
}

/// Whether standard input has ended by `until`.
bool input_ended(Clock::time_point until) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
  return poll(&input, 1, static_cast<int>(std::max(left, 0ms).count())) > 0;
}

int publish(const Arguments& arguments) {
  const std::string& name = arguments.at(0);
  const std::uint64_t topics = std::stoull(arguments.at(1));
  const auto rate = std::stoull(arguments.at(2));
  const std::string padding(std::stoull(arguments.at(3)), '.');
  Publisher::Options options;
  options.source = name;
  options.brokers.clear();
  for (std::size_t i = 4; i < arguments.size(); i += 2) {
    options.brokers.push_back({arguments[i], arguments.at(i + 1)});
  }
  Publisher publisher(options);

  std::uint64_t offered = 0;
  const Clock::time_point begun = Clock::now();
  while (!input_ended(begun + std::chrono::nanoseconds(1'000'000'000 / rate * (offered + 1)))) {
    const auto elapsed = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun);
    while (offered < static_cast<std::uint64_t>(elapsed.count()) * rate / 1'000'000) {
      const std::uint64_t number = offered + 1;
      const Offer offer = publisher.offer_text(fmt::format("load.{}.{}", name, number % topics),
                                               fmt::format("{} {}{}", name, number, padding));
      if (offer == Offer::backpressured) break;
      if (offer != Offer::accepted) throw std::runtime_error("event not accepted");
      offered = number;
    }
  }
  const bool flushed = publisher.close(flush_limit);
  const backplane::PublisherStatus status = publisher.status();
  say(R"({{"offered":{},"confirmed":{},"refused":{},"in_doubt":{},"flushed":{}}})", status.offered,
      status.confirmed, status.refused, status.in_doubt, flushed);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Arguments arguments(argv + 2, argv + std::max(argc, 2));
    return std::string(argv[1]) == "subscribe" ? subscribe(arguments) : publish(arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "library_driver: {}\n", error.what());
    return 2;
  }
}
