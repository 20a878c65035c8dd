// The whole path from a publisher to many TCP clients, compared with Redis, libzmq's proxy and a server that
// only broadcasts: the same clients and the same load, in turns, in one run.
//
//   bench_gateway [--rounds N] [SCENARIO…]     (needs the program `backplane` in the same folder)
//
// Scenarios: one (full speed, to one client; also with broker and gateway in one process), fanout (full
// speed, to 100 and to 1,000 clients), paced (1,000 events/s to 100 clients), topics (100,000 topics over 100
// clients), stalled (100 clients that read nothing, with 1,000 that do), idle (memory of 10,000 clients), web
// (lines, Server-Sent Events and WebSocket, to 1,000 clients each). Default: all. CPU is that of the servers:
// the CPU clocks of all their processes. Figures are medians of the rounds; ratios compare runs of the same
// round.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>

#include "bench/broker/pair.hpp"
#include "bench/gateway/load.hpp"
#include "bench/gateway/peers.hpp"
#include "bench/gateway/report.hpp"
#include "bench/gateway/swarm.hpp"

namespace {

using namespace backplane::bench;

/// The runs of one comparison, in the order of the servers.
struct Comparison {
  std::vector<Runs> runs;
  [[nodiscard]] Spread ratio(std::size_t one, std::size_t other, double Outcome::*figure) const {
    return backplane::bench::ratio(runs[one], runs[other], figure);
  }
};

Outcome run_through_proxy(std::uint64_t events) {
  const PairOutcome pair = run_pair(run_proxy, events, pair_window_default);
  Outcome outcome;
  outcome.deliveries_a_second = pair.events_a_second;
  outcome.cpu_us = pair.cpu_ns_an_event / 1'000;
  outcome.lost = events - pair.received;
  return outcome;
}

class Suite {
 public:
  void one() {
    constexpr std::uint64_t events = 1'500'000;
    const Load load{.clients = 1, .events = events, .window = pair_window_default};
    const Comparison all =
        compare("full speed, 1 to 1", {{"zmq_proxy", [&] { return run_through_proxy(events); }},
                                       {ours_.name, [&] { return run(ours_, load); }},
                                       {serve_.name, [&] { return run(serve_, load); }}});
    report_.at_least(0.7, "1 to 1: deliveries/s, of zmq_proxy's",
                     all.ratio(1, 0, &Outcome::deliveries_a_second));
    Report::note("1 to 1: CPU per delivery, of zmq_proxy's", all.ratio(1, 0, &Outcome::cpu_us));
    report_.at_least(1.2, "1 to 1: deliveries/s of serve, of zmq_proxy's",
                     all.ratio(2, 0, &Outcome::deliveries_a_second));
    Report::note("1 to 1: CPU per delivery of serve, of zmq_proxy's", all.ratio(2, 0, &Outcome::cpu_us));
    Report::note("1 to 1: deliveries/s of serve, of broker and gateway",
                 all.ratio(2, 1, &Outcome::deliveries_a_second));
    Report::note("1 to 1: CPU per delivery of serve, of broker and gateway",
                 all.ratio(2, 1, &Outcome::cpu_us));
  }

  void fanout() {
    for (const auto& [clients, target] : {std::pair<std::size_t, double>{100, 2}, {1'000, 2.5}}) {
      const Load load{.clients = clients, .events = 20'000'000 / clients};
      const std::string name = fmt::format("1 to {}", clients);
      const Comparison all = compare("full speed, " + name, three(), load);
      Report::note(name + ": deliveries/s, of raw TCP's", all.ratio(1, 0, &Outcome::deliveries_a_second));
      Report::note(name + ": CPU per delivery, of raw TCP's", all.ratio(1, 0, &Outcome::cpu_us));
      if (!has_redis()) continue;
      report_.at_least(target, name + ": deliveries/s, of Redis's",
                       all.ratio(1, 2, &Outcome::deliveries_a_second));
      report_.at_most(0.45, name + ": CPU per delivery, of Redis's", all.ratio(1, 2, &Outcome::cpu_us));
    }
  }

  void paced() {
    const Comparison all = compare("1,000 events/s to 100 clients", three(),
                                   Load{.clients = 100, .events = 5'000, .events_a_second = 1'000});
    report_.at_most(1.6, "1,000 events/s to 100: p50, of raw TCP's", all.ratio(1, 0, &Outcome::p50_us));
    report_.at_most(1.5, "1,000 events/s to 100: p99, of raw TCP's", all.ratio(1, 0, &Outcome::p99_us));
  }

  void topics() {
    std::vector<Server> servers{ours_};
    if (has_redis()) servers.push_back(redis_);
    const Comparison all =
        compare("100,000 topics over 100 clients", servers,
                Load{.clients = 100, .topics_a_client = 1'000, .events = 2'000'000, .window = 32'768});
    Spread rate = spread(all.runs[0], &Outcome::deliveries_a_second);
    for (double* const figure : {&rate.low, &rate.middle, &rate.high}) *figure /= 1e6;
    report_.at_least(0.5, "100,000 topics over 100: million deliveries/s", rate);
  }

  void stalled() {
    const auto with = [&](std::size_t stalled) {
      return [this, stalled] {
        return run(ours_, {.clients = 1'000, .stalled = stalled, .events = 5'000, .events_a_second = 1'000});
      };
    };
    const Comparison all =
        compare("1,000 events/s to 1,000 clients, without and with 100 more that read nothing",
                {{"none stalled", with(0)}, {"100 stalled", with(100)}});
    report_.at_most(1.1, "with 100 stalled: CPU per delivery to others", all.ratio(1, 0, &Outcome::cpu_us));
    Report::note("with 100 stalled: p50 of others", all.ratio(1, 0, &Outcome::p50_us));
    report_.at_most(1.1, "with 100 stalled: p99 of others", all.ratio(1, 0, &Outcome::p99_us));
    for (const Outcome& each : all.runs[1]) {
      const SocketMemory& held = each.unread;
      fmt::print(
          "  kernel memory for {} stalled clients: {:.0f} KiB to be sent, at most {:.0f} for one; {:.0f} "
          "KiB "
          "that they have not read\n",
          held.sockets, kib(held.queued_bytes), kib(held.largest_bytes), kib(held.received_bytes));
    }
  }

  void idle() {
    fmt::print("\n{} idle clients with one subscription each, user memory of the server\n", idle_clients);
    report_.at_most(1, "idle client: KiB of user memory", idle_kib(ours_));
    if (has_redis()) Report::note("idle client of Redis: KiB of user memory", idle_kib(redis_));
  }

  /// Server-Sent Events and WebSocket wrap json lines; text lines are the default.
  void web() {
    const auto with = [](Speech speech) { return [=](std::size_t) { return make_backplane_for(speech); }; };
    const std::vector<Server> servers{{"line text", make_backplane},
                                      {"line json", with(Speech::line_json)},
                                      {"sse", with(Speech::sse)},
                                      {"websocket", with(Speech::websocket)}};
    const Comparison fast =
        compare("full speed, 1 to 1,000, by protocol", servers, Load{.clients = 1'000, .events = 10'000});
    report_.at_most(1.3, "SSE: CPU per delivery, of lines of json", fast.ratio(2, 1, &Outcome::cpu_us));
    report_.at_most(1.3, "WebSocket: CPU per delivery, of lines of json", fast.ratio(3, 1, &Outcome::cpu_us));
    Report::note("SSE: CPU per delivery, of lines of text", fast.ratio(2, 0, &Outcome::cpu_us));
    Report::note("WebSocket: CPU per delivery, of lines of text", fast.ratio(3, 0, &Outcome::cpu_us));
    const Comparison paced = compare("1,000 events/s to 1,000 clients, by protocol", servers,
                                     Load{.clients = 1'000, .events = 2'000, .events_a_second = 1'000});
    report_.at_most(1.3, "SSE, 1,000 events/s: CPU per delivery, of lines of text",
                    paced.ratio(2, 0, &Outcome::cpu_us));
    report_.at_most(1.3, "WebSocket, 1,000 events/s: CPU per delivery, of lines of text",
                    paced.ratio(3, 0, &Outcome::cpu_us));
  }

  void summary() const { report_.summary(); }
  int rounds{3};

 private:
  static constexpr std::size_t idle_clients = 10'000;

  struct Course {
    std::string name;
    std::function<Outcome()> run;
  };

  static double kib(std::size_t bytes) { return static_cast<double>(bytes) / 1'024; }

  /// The servers that support every scenario.
  [[nodiscard]] std::vector<Server> three() const {
    std::vector<Server> servers{{"raw", make_raw}, ours_};
    if (has_redis()) servers.push_back(redis_);
    return servers;
  }

  /// In turns, every other round in the opposite order: no server is always the first.
  [[nodiscard]] Comparison compare(const std::string& title, const std::vector<Course>& courses) const {
    Comparison all;
    all.runs.resize(courses.size());
    for (int round = 0; round < rounds; ++round) {
      for (std::size_t i = 0; i < courses.size(); ++i) {
        const std::size_t at = round % 2 == 0 ? i : courses.size() - 1 - i;
        all.runs[at].push_back(courses[at].run());
      }
    }
    Report::head(title);
    for (std::size_t i = 0; i < courses.size(); ++i) Report::print(courses[i].name, all.runs[i]);
    return all;
  }
  [[nodiscard]] Comparison compare(const std::string& title, const std::vector<Server>& servers,
                                   const Load& load) const {
    std::vector<Course> courses;
    for (const Server& server : servers) courses.push_back({server.name, [=] { return run(server, load); }});
    return compare(title, courses);
  }

  /// The server's memory per client, without the first few hundred clients.
  [[nodiscard]] Spread idle_kib(const Server& server) const {
    constexpr std::size_t few = 100;
    constexpr std::size_t many = idle_clients - few;
    std::vector<double> each;
    for (int round = 0; round < rounds; ++round) {
      const std::unique_ptr<Peer> peer = server.make(idle_clients);
      const auto plan = [&](std::size_t clients) {
        const std::vector<std::string> topic{topic_name(0)};
        return Swarm::Plan{peer->port(),
                           clients,
                           0,
                           [&, topic](std::size_t) { return peer->request(topic); },
                           [&, topic](std::size_t) { return peer->reply_bytes(topic); },
                           peer->framing(topic_name(0))};
      };
      const Swarm first(plan(few));
      const std::size_t before = peer->memory_bytes();
      const Swarm second(plan(many));
      each.push_back((kib(peer->memory_bytes()) - kib(before)) / many);
    }
    return spread(each);
  }

  const Server ours_{"backplane", make_backplane};
  const Server serve_{"serve", make_serve};
  const Server redis_{"redis", make_redis};
  Report report_;
};

void raise_open_files_limit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace

int main(int argc, char** argv) {
  raise_open_files_limit();
  Suite suite;
  const std::vector<std::pair<std::string, std::function<void()>>> scenarios{
      {"one", [&] { suite.one(); }},         {"fanout", [&] { suite.fanout(); }},
      {"paced", [&] { suite.paced(); }},     {"topics", [&] { suite.topics(); }},
      {"stalled", [&] { suite.stalled(); }}, {"idle", [&] { suite.idle(); }},
      {"web", [&] { suite.web(); }},
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
      fmt::print(stderr,
                 "bench_gateway: expected one, fanout, paced, topics, stalled, idle or web, got \"{}\"\n",
                 argument);
      return 2;
    }
    wanted.push_back(argument);
  }
  if (!has_redis()) fmt::print("Redis is not compared: install Debian's redis-server\n");
  for (const auto& [name, scenario] : scenarios) {
    if (wanted.empty() || std::find(wanted.begin(), wanted.end(), name) != wanted.end()) scenario();
  }
  suite.summary();
  return 0;
}
