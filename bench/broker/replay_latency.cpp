// How much a client that replays a million events delays the live stream: the latency of 5,000 live events
// per second, from a publisher through the broker to a SUB, with and without that client.
//
//   bench_broker_replay [events in history] [pairs]       (backplane is in the same folder)
//
// The p99 of one round depends mostly on the machine. The rounds therefore come in pairs, one of them with
// the client, whose order alternates. The result is the median of the pairs' ratios, printed with their
// range. The client replays everything at least once per round, and again until the round is over. It has its
// own ZeroMQ context, as it would in another process, so its bytes do not delay the subscriber.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <zmq.hpp>

#include "backplane/v1/control.pb.h"
#include "backplane/v1/event.pb.h"
#include "bench/broker/middle.hpp"
#include "bench/median.hpp"

namespace {

using backplane::bench::median;

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr int history_topics = 32;
constexpr double live_a_second = 5'000;
constexpr auto round_time = 2s;

zmq::socket_t connected(zmq::context_t& context, zmq::socket_type type, const std::string& endpoint) {
  zmq::socket_t socket(context, type);
  socket.set(zmq::sockopt::linger, 5'000);
  socket.set(zmq::sockopt::sndhwm, 0);
  socket.set(zmq::sockopt::rcvhwm, 0);
  socket.set(zmq::sockopt::rcvtimeo, 10'000);
  socket.connect(endpoint);
  return socket;
}

zmq::socket_t publisher(zmq::context_t& context, const std::string& ingress) {
  zmq::socket_t socket = connected(context, zmq::socket_type::xpub, ingress);
  zmq::message_t subscription;
  if (!socket.recv(subscription)) std::exit(1);
  return socket;
}

backplane::v1::ControlReply ask(zmq::socket_t& control, const backplane::v1::ControlRequest& request) {
  control.send(zmq::buffer(request.SerializeAsString()), zmq::send_flags::none);
  zmq::message_t frame;
  backplane::v1::ControlReply reply;
  if (!control.recv(frame) || !reply.ParseFromArray(frame.data(), static_cast<int>(frame.size())))
    std::exit(1);
  return reply;
}

void fill_history(zmq::context_t& context, const backplane::bench::Endpoints& broker, std::uint64_t events) {
  zmq::socket_t socket = publisher(context, broker.ingress);
  backplane::v1::Event event;
  event.set_binary(std::string(40, 'x'));
  const std::string bytes = event.SerializeAsString();
  for (std::uint64_t i = 0; i < events; ++i) {
    socket.send(zmq::buffer(fmt::format("hist.{}", i % history_topics)), zmq::send_flags::sndmore);
    socket.send(zmq::buffer(bytes), zmq::send_flags::none);
  }
  zmq::socket_t control = connected(context, zmq::socket_type::dealer, broker.control);
  backplane::v1::ControlRequest request;
  request.set_version(1);
  request.mutable_hello()->set_name("bench@host");
  request.mutable_hello()->set_role(backplane::v1::HelloRequest::ROLE_CLIENT);
  while (ask(control, request).position() < events) std::this_thread::yield();
}

/// Replays hist.> repeatedly until `end`; counts complete replays in `readings`.
/// @returns the number of events
std::uint64_t read_back(const std::string& endpoint, const std::atomic<bool>& end,
                        std::atomic<int>& readings) {
  zmq::context_t context(1);
  zmq::socket_t control = connected(context, zmq::socket_type::dealer, endpoint);
  backplane::v1::ControlRequest request;
  request.set_version(1);
  request.mutable_replay()->set_pattern("hist.>");
  request.mutable_replay()->set_since_ns(0);
  std::uint64_t events = 0;
  while (!end) {
    const backplane::v1::ControlReply reply = ask(control, request);
    if (reply.has_error() || reply.has_gone()) {
      fmt::print(stderr, "replay: {}\n", reply.has_error() ? reply.error().text() : "gone");
      std::exit(1);
    }
    events += static_cast<std::uint64_t>(reply.replay().events_size());
    request.mutable_replay()->set_cursor(reply.has_more() ? reply.more().cursor() : "");
    if (!reply.has_more()) ++readings;
  }
  return events;
}

struct Latencies {
  double p50_us{};
  double p99_us{};
  std::size_t live_events{};
  std::uint64_t read_back{};
  double seconds{};
};

Latencies live_round(zmq::context_t& context, const backplane::bench::Endpoints& broker, bool with_reader) {
  zmq::socket_t subscriber = connected(context, zmq::socket_type::sub, broker.egress);
  subscriber.set(zmq::sockopt::subscribe, "live");
  zmq::socket_t source = publisher(context, broker.ingress);
  const auto send = [&](std::int64_t sent_ns) {
    backplane::v1::Event event;
    event.set_text(std::to_string(sent_ns));
    source.send(zmq::str_buffer("live"), zmq::send_flags::sndmore);
    source.send(zmq::buffer(event.SerializeAsString()), zmq::send_flags::none);
  };
  zmq::message_t frame;
  subscriber.set(zmq::sockopt::rcvtimeo, 20);
  do {
    send(0);  // until the subscription is active
  } while (!subscriber.recv(frame));
  subscriber.set(zmq::sockopt::rcvtimeo, 1'000);

  std::atomic<bool> end{false};
  std::atomic<int> readings{with_reader ? 0 : 1};
  std::atomic<std::uint64_t> sent{0};
  Latencies result;
  std::thread reader([&] {
    if (with_reader) result.read_back = read_back(broker.control, end, readings);
  });
  const auto begin = Clock::now();
  std::thread live([&] {
    for (std::uint64_t i = 0; Clock::now() - begin < round_time || readings == 0; ++i) {
      std::this_thread::sleep_until(begin +
                                    std::chrono::duration<double>(static_cast<double>(i) / live_a_second));
      send(Clock::now().time_since_epoch().count());
      sent = i + 1;
    }
    end = true;
  });
  std::vector<double> microseconds;
  backplane::v1::Event event;
  // Until the last one sent; the timeout is for a machine that hardly runs.
  while (!(end && microseconds.size() == sent) && subscriber.recv(frame)) {
    if (frame.more()) continue;
    event.ParseFromArray(frame.data(), static_cast<int>(frame.size()));
    const std::int64_t sent_ns = std::strtoll(event.text().c_str(), nullptr, 10);
    if (sent_ns > 0)
      microseconds.push_back(static_cast<double>(Clock::now().time_since_epoch().count() - sent_ns) / 1e3);
  }
  live.join();
  reader.join();
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (microseconds.size() != sent) {
    fmt::print(stderr, "{} live events of {} arrived\n", microseconds.size(), sent.load());
    std::exit(1);
  }
  result.live_events = microseconds.size();
  std::sort(microseconds.begin(), microseconds.end());
  result.p50_us = microseconds[microseconds.size() / 2];
  result.p99_us = microseconds[microseconds.size() * 99 / 100];
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t events = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  const int pairs = argc > 2 ? std::max(1, std::atoi(argv[2])) : 7;
  const std::string config =
      fmt::format("/tmp/backplane-bench-{}.toml", Clock::now().time_since_epoch().count());
  std::ofstream(config)
      << "[[backplane]]\nhistory_events = 1000000\nhistory_bytes = \"1GiB\"\nhistory_bytes_max = \"1GiB\"\n";
  backplane::bench::Middle broker([&](int ready_fd) { backplane::bench::run_broker(ready_fd, config); });
  std::remove(config.c_str());
  zmq::context_t context(2);
  fill_history(context, broker.endpoints, events);
  static_cast<void>(live_round(context, broker.endpoints, false));  // warm-up: the first round always differs

  std::vector<double> p99[2];
  std::vector<double> ratios;
  fmt::print("{:<6} {:<8} {:>9} {:>9} {:>12} {:>16}\n", "pair", "reader", "p50 us", "p99 us", "live events",
             "read back k/s");
  for (int i = 0; i < pairs; ++i) {
    for (const bool with_reader : {i % 2 != 0, i % 2 == 0}) {
      const Latencies round = live_round(context, broker.endpoints, with_reader);
      p99[with_reader ? 1 : 0].push_back(round.p99_us);
      fmt::print("{:<6} {:<8} {:>9.0f} {:>9.0f} {:>12} {:>16.0f}\n", i + 1, with_reader ? "yes" : "no",
                 round.p50_us, round.p99_us, round.live_events,
                 static_cast<double>(round.read_back) / 1e3 / round.seconds);
      std::fflush(stdout);
    }
    ratios.push_back(p99[1].back() / p99[0].back());
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  fmt::print(
      "median p99: without {:.0f} us, with {:.0f} us; ratio of a pair: median {:.2f}, {:.2f} to {:.2f}; {} "
      "events in history\n",
      median(p99[0]), median(p99[1]), median(ratios), *least, *most, events);
  broker.end();
  return 0;
}
