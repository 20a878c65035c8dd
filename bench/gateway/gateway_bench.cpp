// The whole way from a publisher to many TCP clients, beside Redis and beside a server that only broadcasts,
// with the same clients and the same load, in turns, in one run.
//
//   bench_gateway [--rounds N] [SCENARIO…]     (backplane stands in the same folder)
//
// Scenarios: fanout (as fast as it goes, to 100 and to 1,000 clients), paced (1,000 events/s to 100 clients),
// topics (100,000 topics over 100 clients), stalled (100 clients that read nothing beside 1,000 that do),
// idle (10,000 clients, memory). None: all. CPU is the servers' own: all processes of each, by their clocks.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>

#include "bench/gateway/peers.hpp"
#include "bench/gateway/swarm.hpp"
#include "bench/median.hpp"

namespace {

using namespace backplane::bench;
using Clock = std::chrono::steady_clock;

constexpr std::size_t batch = 64;
constexpr std::chrono::seconds patience{20};

struct Server {
  std::string name;
  MakePeer make;
};

struct Load {
  std::size_t clients{};
  std::size_t stalled{};
  std::size_t topics_a_client{1};  ///< 1: all have the same one; more: each has its own
  std::uint64_t events{};
  double events_a_second{};  ///< 0: as fast as the clients get them
  /// Events under way at most, so that no server needs more memory than another.
  std::uint64_t window{2048};
};

struct Outcome {
  double deliveries_a_second{};
  double cpu_us{};  ///< a delivery
  double p50_us{};
  double p99_us{};
  std::uint64_t lost{};
  std::uint64_t faults{};
};

std::string topic_name(std::size_t number) {
  return fmt::format("bench.{:06}", number);
}

std::vector<std::string> topics_of(const Load& load, std::size_t client) {
  std::vector<std::string> topics;
  const std::size_t first = load.topics_a_client == 1 ? 0 : client % load.clients * load.topics_a_client;
  for (std::size_t i = 0; i < load.topics_a_client; ++i) topics.push_back(topic_name(first + i));
  return topics;
}

/// Publishes the events of a load, each in its turn, and no more at a time than its window.
void publish(Peer& peer, const Swarm& swarm, const Load& load) {
  const bool own_topics = load.topics_a_client > 1;
  const std::uint64_t fan = own_topics ? 1 : load.clients;
  const std::size_t topic_count = own_topics ? load.clients * load.topics_a_client : 1;
  std::vector<std::string> topics;
  for (std::size_t i = 0; i < topic_count; ++i) topics.push_back(topic_name(i));
  std::vector<std::uint64_t> numbers(own_topics ? load.clients : 1);
  std::string payload(payload_bytes, ' ');
  const auto begin = Clock::now();
  std::size_t at = 0;
  for (std::uint64_t sent = 0; sent < load.events; ++sent) {
    if (load.events_a_second > 0) {
      std::this_thread::sleep_until(
          begin + std::chrono::duration_cast<Clock::duration>(
                      std::chrono::duration<double>(static_cast<double>(sent) / load.events_a_second)));
    } else if (sent % batch == 0) {
      peer.flush();
      const auto until = Clock::now() + patience;
      while ((sent - std::min(sent, load.window)) * fan > swarm.delivered() && Clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::microseconds{50});
      }
    }
    at = (at + 7919) % topics.size();  // a prime: all topics come, neighbours do not
    std::uint64_t& number = numbers[own_topics ? at / load.topics_a_client : 0];
    write_payload(++number, Clock::now().time_since_epoch().count(), payload.data());
    peer.publish(topics[at], payload);
    if (load.events_a_second > 0) peer.flush();
  }
  peer.flush();
}

double at_share(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

Outcome run(const Server& server, const Load& load) {
  const std::unique_ptr<Peer> peer = server.make(load.clients + load.stalled);
  Swarm swarm({peer->port(), load.clients, load.stalled,
               [&](std::size_t n) { return peer->request(topics_of(load, n)); },
               [&](std::size_t n) { return peer->answer_bytes(topics_of(load, n)); },
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
  const std::vector<double> latencies = swarm.take_latencies();
  outcome.p50_us = at_share(latencies, 0.5);
  outcome.p99_us = at_share(latencies, 0.99);
  outcome.faults = swarm.faults();
  return outcome;
}

Outcome middle(const std::vector<Outcome>& runs) {
  const auto of = [&](double Outcome::*value) {
    std::vector<double> all;
    for (const Outcome& each : runs) all.push_back(each.*value);
    return median(std::move(all));
  };
  Outcome outcome{of(&Outcome::deliveries_a_second),
                  of(&Outcome::cpu_us),
                  of(&Outcome::p50_us),
                  of(&Outcome::p99_us),
                  0,
                  0};
  for (const Outcome& each : runs) {
    outcome.lost += each.lost;
    outcome.faults += each.faults;
  }
  return outcome;
}

void print_head(std::string_view title) {
  fmt::print("\n{}\n{:<12} {:>14} {:>14} {:>10} {:>10} {:>8} {:>7}\n", title, "server", "deliveries/s",
             "CPU us/deliv.", "p50 ms", "p99 ms", "lost", "faults");
}

void print(const std::string& name, const Outcome& outcome) {
  fmt::print("{:<12} {:>14.0f} {:>14.4f} {:>10.3f} {:>10.3f} {:>8} {:>7}\n", name,
             outcome.deliveries_a_second, outcome.cpu_us, outcome.p50_us / 1'000, outcome.p99_us / 1'000,
             outcome.lost, outcome.faults);
  std::fflush(stdout);
}

/// Runs the load on each server in turns and prints the medians. @returns these, in the servers' order.
std::vector<Outcome> compare(std::string_view title, const std::vector<Server>& servers, const Load& load,
                             int rounds) {
  std::vector<std::vector<Outcome>> runs(servers.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < servers.size(); ++i) runs[i].push_back(run(servers[i], load));
  }
  print_head(title);
  std::vector<Outcome> medians;
  for (std::size_t i = 0; i < servers.size(); ++i) {
    medians.push_back(middle(runs[i]));
    print(servers[i].name, medians.back());
  }
  return medians;
}

struct Suite {
  int rounds{3};
  Server raw{"raw", make_raw};
  Server ours{"backplane", make_backplane};
  Server redis{"redis", make_redis};

  [[nodiscard]] std::vector<Server> all() const {
    std::vector<Server> servers{raw, ours};
    if (has_redis()) servers.push_back(redis);
    return servers;
  }

  void fanout() const {
    for (const std::size_t clients : {std::size_t{100}, std::size_t{1000}}) {
      const auto results = compare(fmt::format("as fast as it goes, 1 to {}", clients), all(),
                                   Load{.clients = clients, .events = 20'000'000 / clients}, rounds);
      if (results.size() < 3) continue;
      fmt::print(
          "backplane: {:.2f} of redis's deliveries/s at {:.2f} of its CPU; {:.2f} of raw's at {:.2f}\n",
          results[1].deliveries_a_second / results[2].deliveries_a_second,
          results[1].cpu_us / results[2].cpu_us,
          results[1].deliveries_a_second / results[0].deliveries_a_second,
          results[1].cpu_us / results[0].cpu_us);
    }
  }

  void paced() const {
    const auto results = compare("1,000 events/s to 100 clients", all(),
                                 Load{.clients = 100, .events = 5'000, .events_a_second = 1'000}, rounds);
    fmt::print("backplane: p50 {:.2f} and p99 {:.2f} of raw's\n", results[1].p50_us / results[0].p50_us,
               results[1].p99_us / results[0].p99_us);
  }

  void topics() const {
    std::vector<Server> servers{ours};
    if (has_redis()) servers.push_back(redis);
    compare("100,000 topics over 100 clients", servers,
            Load{.clients = 100, .topics_a_client = 1'000, .events = 2'000'000, .window = 32'768}, rounds);
  }

  void stalled() const {
    const auto with = [&](std::size_t stalled) {
      return Load{.clients = 1'000, .stalled = stalled, .events = 5'000, .events_a_second = 1'000};
    };
    std::vector<std::vector<Outcome>> runs(2);
    for (int round = 0; round < rounds; ++round) {
      for (const std::size_t i : {0u, 1u}) runs[i].push_back(run(ours, with(i * 100)));
    }
    print_head("1,000 events/s to 1,000 clients, without and with 100 more that read nothing");
    print("alone", middle(runs[0]));
    print("beside 100", middle(runs[1]));
  }

  void idle() const {
    constexpr std::size_t few = 100;
    constexpr std::size_t many = 9'900;
    fmt::print("\n{} more idle clients with one subscription each, user memory of the server\n", many);
    std::vector<Server> servers{ours};
    if (has_redis()) servers.push_back(redis);
    for (const Server& server : servers) {
      const std::unique_ptr<Peer> peer = server.make(few + many);
      const auto plan = [&](std::size_t clients) {
        const std::vector<std::string> topic{topic_name(0)};
        return Swarm::Plan{peer->port(),
                           clients,
                           0,
                           [&, topic](std::size_t) { return peer->request(topic); },
                           [&, topic](std::size_t) { return peer->answer_bytes(topic); },
                           peer->framing(topic_name(0))};
      };
      const Swarm first(plan(few));
      const std::size_t before = peer->memory_bytes();
      const Swarm second(plan(many));
      const auto grown = static_cast<double>(peer->memory_bytes()) - static_cast<double>(before);
      fmt::print("{:<12} {:>10.2f} KiB each\n", server.name, grown / many / 1'024);
      std::fflush(stdout);
    }
  }
};

void raise_open_files_limit() {
  rlimit limit{};
  (void)::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
  raise_open_files_limit();
  Suite suite;
  const std::vector<std::pair<std::string, std::function<void()>>> scenarios{
      {"fanout", [&] { suite.fanout(); }}, {"paced", [&] { suite.paced(); }},
      {"topics", [&] { suite.topics(); }}, {"stalled", [&] { suite.stalled(); }},
      {"idle", [&] { suite.idle(); }},
  };
  std::vector<std::string> wanted;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--rounds" && i + 1 < argc) {
      suite.rounds = std::max(1, std::atoi(argv[++i]));
      continue;
    }
    const bool known = std::any_of(scenarios.begin(), scenarios.end(),
                                   [&](const auto& scenario) { return scenario.first == argument; });
    if (!known) {
      fmt::print(stderr, "bench_gateway: wanted fanout, paced, topics, stalled or idle, got \"{}\"\n",
                 argument);
      return 2;
    }
    wanted.push_back(argument);
  }
  if (!has_redis()) fmt::print("without Redis: install Debian's redis-server to compare with it\n");
  for (const auto& [name, scenario] : scenarios) {
    if (wanted.empty() || std::find(wanted.begin(), wanted.end(), name) != wanted.end()) scenario();
  }
  return 0;
}
