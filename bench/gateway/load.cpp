#include "bench/gateway/load.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "bench/gateway/swarm.hpp"

namespace backplane::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t batch = 64;
constexpr std::chrono::seconds patience{20};

std::vector<std::string> topics_of(const Load& load, std::size_t client) {
  std::vector<std::string> topics;
  const std::size_t first = load.topics_a_client == 1 ? 0 : client % load.clients * load.topics_a_client;
  for (std::size_t i = 0; i < load.topics_a_client; ++i) topics.push_back(topic_name(first + i));
  return topics;
}

/// Publishes the events of a load in order, at most a window of them in flight.
void publish(Peer& peer, const Swarm& swarm, const Load& load) {
  const bool own_topics = load.topics_a_client > 1;
  const std::uint64_t fan = own_topics ? 1 : load.clients;
  const std::size_t topic_count = own_topics ? load.clients * load.topics_a_client : 1;
  std::vector<std::string> topics;
  for (std::size_t i = 0; i < topic_count; ++i) topics.push_back(topic_name(i));
  std::vector<std::uint64_t> numbers(own_topics ? load.clients : 1);
  Payload payload;
  const auto begin = Clock::now();
  std::size_t at = 0;
  for (std::uint64_t sent = 0; sent < load.events; ++sent) {
    if (load.events_a_second > 0) {
      std::this_thread::sleep_until(
          begin + std::chrono::duration_cast<Clock::duration>(
                      std::chrono::duration<double>(static_cast<double>(sent) / load.events_a_second)));
      payload.set_time(Clock::now().time_since_epoch().count());
    } else if (sent % batch == 0) {
      peer.flush();
      const auto until = Clock::now() + patience;
      while ((sent - std::min(sent, load.window)) * fan > swarm.delivered() && Clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::microseconds{50});
      }
      payload.set_time(Clock::now().time_since_epoch().count());
    }
    at = (at + 7919) % topics.size();  // a prime: every topic occurs, and neighbours are not consecutive
    std::uint64_t& number = numbers[own_topics ? at / load.topics_a_client : 0];
    payload.set_number(++number);
    peer.publish(topics[at], payload.bytes());
    if (load.events_a_second > 0) peer.flush();
  }
  peer.flush();
}

double at_share(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

}  // namespace

std::string topic_name(std::size_t number) {
  return fmt::format("bench.{:06}", number);
}

Outcome run(const Server& server, const Load& load) {
  const std::unique_ptr<Peer> peer = server.make(load.clients + load.stalled);
  Swarm swarm({peer->port(), load.clients, load.stalled,
               [&](std::size_t n) { return peer->request(topics_of(load, n)); },
               [&](std::size_t n) { return peer->reply_bytes(topics_of(load, n)); },
               peer->framing(topic_name(0))});
  const std::uint64_t expected = load.events * (load.topics_a_client > 1 ? 1 : load.clients);
  const auto cpu_before = peer->cpu_time();
  const auto begin = Clock::now();
  std::thread publisher([&] { publish(*peer, swarm, load); });
  Outcome outcome;
  (void)swarm.wait_delivered(expected, patience);
  publisher.join();
  const std::chrono::duration<double> seconds = swarm.last_at() - begin;
  const std::uint64_t delivered = swarm.delivered();
  outcome.lost = expected - std::min(expected, delivered);
  outcome.deliveries_a_second = static_cast<double>(delivered) / seconds.count();
  outcome.cpu_us = static_cast<double>((peer->cpu_time() - cpu_before).count()) / 1'000 /
                   static_cast<double>(std::max<std::uint64_t>(1, delivered));
  if (load.stalled > 0) outcome.unread = socket_memory(peer->port());
  const std::vector<double> latencies = swarm.take_latencies();
  outcome.p50_us = at_share(latencies, 0.5);
  outcome.p99_us = at_share(latencies, 0.99);
  outcome.faults = swarm.faults();
  return outcome;
}

}  // namespace backplane::bench
