// The publisher library as a process, for tests: executes commands from standard input, one per line, prints
// one line for each, and ends with the input.
//
//   publisher_driver SOURCE INGRESS CONTROL [INGRESS CONTROL]…
//     ready                 waits until connected                    ready true|false
//     order TOPIC N         offers a shop.Order of N cents           offered N
//     burst TOPIC N         offers N texts, as fast as it goes       offered N
//     flush                                                          flushed true|false
//     status                                                         status offered=… confirmed=… …
//     wait_broker N         until there were N reconnects            reconnected
//     oneshots TOPIC N      N publishers: ready, offer, close        arrived N
//   publisher_driver read EGRESS CONTROL TOPIC N
//     reads the N texts 1, 2, 3, … of a burst from history           read N of N in order
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "backplane/client.hpp"
#include "backplane/publisher.hpp"
#include "shop/order.pb.h"

using backplane::Client;
using backplane::Offer;
using backplane::Publisher;
using backplane::PublisherStatus;

namespace {

constexpr std::chrono::seconds patience{90};

template <class... Parts>
void say(fmt::format_string<Parts...> format, Parts&&... parts) {
  fmt::print(format, std::forward<Parts>(parts)...);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

void offer_order(Publisher& publisher, const std::string& topic, std::uint64_t cents) {
  shop::Order order;
  order.set_item("tea");
  order.mutable_price()->set_currency("EUR");
  order.mutable_price()->set_cents(static_cast<std::int64_t>(cents));
  order.mutable_due()->set_seconds(0);
  order.mutable_rate()->set_symbol("EURUSD");
  if (publisher.offer(topic, order) != Offer::accepted) throw std::runtime_error("order not accepted");
}

void offer_burst(Publisher& publisher, const std::string& topic, std::uint64_t count) {
  for (std::uint64_t i = 1; i <= count; ++i) {
    const fmt::format_int number(i);
    Offer offer{};
    while ((offer = publisher.offer_text(topic, {number.data(), number.size()})) == Offer::backpressured) {
      (void)publisher.flush(patience);
    }
    if (offer != Offer::accepted) throw std::runtime_error("event not accepted");
  }
}

/// Four threads, each with one publisher after another, like many short-lived processes.
std::uint64_t run_oneshots(const Publisher::Options& options, const std::string& topic, std::uint64_t count) {
  std::atomic<std::uint64_t> next{1};
  std::atomic<std::uint64_t> arrived{};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (std::uint64_t number = next++; number <= count; number = next++) {
        Publisher publisher(options);
        if (!publisher.wait_ready(patience)) continue;
        if (publisher.offer_text(topic, std::to_string(number)) != Offer::accepted) continue;
        if (publisher.close(patience)) ++arrived;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return arrived;
}

int publish(const std::vector<std::string>& arguments) {
  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t reconnects = 0;
  Publisher::Options options;
  options.source = arguments.at(0);
  options.brokers.clear();
  for (std::size_t i = 1; i < arguments.size(); i += 2) {
    options.brokers.push_back({arguments[i], arguments.at(i + 1)});
  }
  Publisher::Options plain = options;
  options.on_change = [&](const PublisherStatus& status) {
    const std::lock_guard lock(mutex);
    reconnects = status.ready ? status.reconnects : 0;
    changed.notify_all();
  };
  Publisher publisher(options);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    std::string topic;
    std::uint64_t count = 0;
    words >> command;
    if (command == "ready") {
      say("ready {}", publisher.wait_ready(patience));
    } else if (command == "order" && words >> topic >> count) {
      offer_order(publisher, topic, count);
      say("offered {}", publisher.status().offered);
    } else if (command == "burst" && words >> topic >> count) {
      offer_burst(publisher, topic, count);
      say("offered {}", publisher.status().offered);
    } else if (command == "flush") {
      say("flushed {}", publisher.flush(patience));
    } else if (command == "status") {
      const PublisherStatus status = publisher.status();
      say("status offered={} confirmed={} refused={} resent={} reconnects={} in_doubt={} problem={}",
          status.offered, status.confirmed, status.refused, status.resent, status.reconnects, status.in_doubt,
          status.last_problem);
    } else if (command == "wait_broker" && words >> count) {
      std::unique_lock lock(mutex);
      if (!changed.wait_for(lock, patience, [&] { return reconnects >= count; })) return 1;
      say("reconnected");
    } else if (command == "oneshots" && words >> topic >> count) {
      say("arrived {}", run_oneshots(plain, topic, count));
    } else {
      throw std::runtime_error(fmt::format("no such command: {}", line));
    }
  }
  return publisher.close(patience) ? 0 : 1;
}

int read(const std::vector<std::string>& arguments) {
  const std::uint64_t count = std::stoull(arguments.at(3));
  Client::Options options;
  options.brokers = {{arguments.at(0), arguments.at(1)}};
  options.recovery_limit = patience;
  Client client(options);
  backplane::SubscribeOptions from_the_first;
  from_the_first.since_offset = 0;
  client.subscribe(arguments.at(2), from_the_first);
  std::uint64_t read = 0;
  while (read < count) {
    const Client::Item* item = client.next(patience);
    if (item == nullptr) break;
    if (std::holds_alternative<Client::Gap>(*item)) throw std::runtime_error("a gap");
    if (const auto* event = std::get_if<Client::Event>(item)) {
      const fmt::format_int expected(++read);
      if (event->content() != std::string_view(expected.data(), expected.size()) || event->offset() != read) {
        throw std::runtime_error(
            fmt::format("expected {}, got {} at offset {}", read, event->content(), event->offset()));
      }
    }
  }
  say("read {} of {} in order", read, count);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.at(0) == "read") return read({arguments.begin() + 1, arguments.end()});
    return publish(arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "publisher_driver: {}\n", error.what());
    return 2;
  }
}
