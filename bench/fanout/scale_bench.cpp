// The cost of the fan-out engine with many idle clients, topics, audiences of one client, members of one
// audience, or stalled clients beside healthy ones.
//
//   bench_fanout_scale [idle | topics | members | stalled]
//
// CPU time is that of the engine's threads, plus that of the owner's thread if it does part of the work, by
// their own clocks.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/fanout/loopback.hpp"
#include "bench/fanout/receivers.hpp"
#include "bench/fanout/workload.hpp"
#include "bench/median.hpp"
#include "fanout/engine.hpp"

namespace {

using backplane::Descriptor;
using backplane::bench::IgnoringHandler;
using backplane::bench::Lines;
using backplane::bench::Loopback;
using backplane::bench::median;
using backplane::bench::must;
using backplane::bench::Receivers;
using backplane::bench::thread_cpu_us;
using namespace backplane::fanout;
using Clock = std::chrono::steady_clock;

double user_bytes() {
  return static_cast<double>(::mallinfo2().uordblks);
}

double us_since(Clock::time_point began) {
  return std::chrono::duration<double, std::micro>(Clock::now() - began).count();
}

double cpu_us(const Engine& engine) {
  return thread_cpu_us() + std::chrono::duration<double, std::micro>(engine.cpu_time()).count();
}

void wait_for_commands(const Engine& engine, std::uint64_t count) {
  while (engine.counters().commands < count) ::usleep(1000);
}

std::unique_ptr<Handler> silent(Client&) {
  return std::make_unique<IgnoringHandler>();
}

/// Sockets whose other ends belong to a child process, because one process may not have so many descriptors.
class Remotes {
 public:
  explicit Remotes(std::size_t count) {
    const Loopback loopback;
    child_ = ::fork();
    must(child_ >= 0, "fork");
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::vector<Descriptor> ends;
      for (std::size_t i = 0; i < count; ++i) ends.push_back(loopback.connect());
      for (;;) ::pause();
    }
    for (std::size_t i = 0; i < count; ++i) sockets.push_back(loopback.accept());
  }
  ~Remotes() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  Remotes(const Remotes&) = delete;
  Remotes& operator=(const Remotes&) = delete;

  std::vector<Descriptor> sockets;

 private:
  pid_t child_{};
};

void idle() {
  constexpr std::size_t count = 10'000;
  Remotes remotes(count);
  Engine engine({});
  engine.set_route(RouteId{0}, {AudienceId{0}});
  engine.publish();
  wait_for_commands(engine, 1);
  const double before = user_bytes();
  std::vector<ClientId> clients;
  clients.reserve(count);
  for (Descriptor& socket : remotes.sockets) clients.push_back(engine.adopt(std::move(socket), silent));
  engine.publish();
  wait_for_commands(engine, 1 + count);
  const double ids = count * sizeof(ClientId);
  const double adopted = user_bytes() - ids;
  for (const ClientId client : clients) engine.join(client, AudienceId{0});
  engine.publish();
  wait_for_commands(engine, 1 + 2 * count);
  const double joined = user_bytes() - ids;
  Lines lines;
  for (std::uint64_t i = 1; i <= 10; ++i) {
    engine.append(lines.next(), {TopicId{0}, RouteId{0}, i});
    engine.publish();
  }
  while (engine.counters().delivered < 10 * count) ::usleep(1000);
  const double served = user_bytes() - ids;
  fmt::print("idle: {} clients, bytes of user memory each: adopted {:.0f}, in an audience {:.0f}, ", count,
             (adopted - before) / count, (joined - before) / count);
  fmt::print("after 10 messages {:.0f} (of which Client {})\n", (served - before) / count, sizeof(Client));
}

void topics() {
  constexpr std::uint32_t count = 100'000;
  constexpr std::size_t clients = 100;
  Receivers receivers(clients);
  Engine engine({});
  std::vector<ClientId> ids;
  for (Descriptor& socket : receivers.take_server_ends())
    ids.push_back(engine.adopt(std::move(socket), silent));
  engine.publish();
  wait_for_commands(engine, clients);
  const double bytes = user_bytes();
  const double cpu = cpu_us(engine);
  for (std::uint32_t i = 0; i < count; ++i) {
    engine.set_route(RouteId{i}, {AudienceId{i}});
    engine.join(ids[i % clients], AudienceId{i});
    if (i % 1000 == 999) engine.publish();
  }
  wait_for_commands(engine, clients + std::uint64_t{2} * count);
  fmt::print("topics: {} over {} clients, each: set_route and join {:.2f} us of CPU, {:.0f} bytes\n", count,
             clients, (cpu_us(engine) - cpu) / count, (user_bytes() - bytes) / count);
  Lines lines;
  std::uint64_t offset = 0;
  for (const std::size_t batch : {64u, 1024u, 8192u}) {
    std::vector<double> rates;
    std::vector<double> costs;
    for (int run = 0; run < 3; ++run) {
      const std::size_t batches = 300'000 / batch;
      const auto began = Clock::now();
      const double used = cpu_us(engine);
      for (std::size_t i = 0; i < batches; ++i) {
        receivers.expect(batch * Lines::bytes);
        for (std::size_t k = 0; k < batch; ++k) {
          const auto topic = static_cast<std::uint32_t>(++offset * 7919 % count);
          engine.append(lines.next(), {TopicId{topic}, RouteId{topic}, offset});
        }
        engine.publish();
        receivers.wait();
      }
      rates.push_back(static_cast<double>(batches * batch) / us_since(began) * 1e3);
      costs.push_back((cpu_us(engine) - used) / static_cast<double>(batches * batch));
    }
    fmt::print("topics: batches of {:>4}: {:>6.0f} k deliveries/s, {:.3f} us of CPU each\n", batch,
               median(rates), median(costs));
  }
}

/// Accepts and provides nothing.
class NoStream final : public Stream {
 public:
  ssize_t read(std::span<char>) noexcept override { return blocked(); }
  ssize_t write(std::span<const iovec>) noexcept override { return blocked(); }
  bool end_output() noexcept override { return true; }

 private:
  static ssize_t blocked() noexcept {
    errno = EAGAIN;
    return -1;
  }
};

void members() {
  Log log({}, 1);
  Shard shard({}, log, 0, Clock::now());
  const auto add = [&](std::uint64_t id) {
    shard.add(ClientId{id}, std::make_unique<NoStream>()).set_handler(std::make_unique<IgnoringHandler>());
  };
  constexpr std::uint64_t clients = 10'000;
  for (std::uint64_t id = 1; id <= clients; ++id) add(id);
  auto began = Clock::now();
  for (std::uint64_t id = 1; id <= clients; ++id) shard.join(ClientId{id}, AudienceId{0});
  const double join = us_since(began) / clients;
  began = Clock::now();
  for (std::uint64_t i = 0; i < clients; ++i) shard.leave(ClientId{1 + i * 7919 % clients}, AudienceId{0});
  fmt::print("members: {} of one audience, each: join {:.3f} us, leave {:.3f} us\n", clients, join,
             us_since(began) / clients);
  constexpr std::uint32_t audiences = 100'000;
  for (std::uint32_t i = 0; i < audiences; ++i)
    shard.join(ClientId{2}, AudienceId{i});  // the audiences exist then
  const double bytes = user_bytes();
  began = Clock::now();
  for (std::uint32_t i = 0; i < audiences; ++i) shard.join(ClientId{1}, AudienceId{i});
  const double joined = us_since(began) / audiences;
  const double each = (user_bytes() - bytes) / audiences;
  began = Clock::now();
  for (std::uint32_t i = 0; i < audiences; ++i) {
    shard.leave(ClientId{1}, AudienceId{static_cast<std::uint32_t>(i * std::uint64_t{7919} % audiences)});
  }
  fmt::print("members: {} audiences of one client, each: join {:.3f} us, leave {:.3f} us, {:.0f} bytes\n",
             audiences, joined, us_since(began) / audiences, each);
}

struct Healthy {
  double cpu_us;  ///< per delivery
  double p50_us;  ///< until all healthy clients have a batch
  double p99_us;
};

Healthy beside(std::size_t stalled) {
  constexpr std::size_t clients = 1000;
  constexpr std::size_t batch = 64;
  constexpr std::size_t batches = 300;
  EngineOptions options;
  options.worker.shard.client.backlog_bytes_max = 1u << 20;  // exceeded in most of the run
  Receivers receivers(clients);
  auto stalled_ends = Receivers::connect(stalled);
  Engine engine(options);
  engine.set_route(RouteId{0}, {AudienceId{0}});
  const auto add = [&](Descriptor socket) {
    engine.join(engine.adopt(std::move(socket), silent), AudienceId{0});
  };
  for (Descriptor& socket : receivers.take_server_ends()) add(std::move(socket));
  for (auto& [client, server] : stalled_ends) add(std::move(server));
  Lines lines;
  std::uint64_t offset = 0;
  std::vector<double> times;
  double cpu = 0;
  for (std::size_t i = 0; i < 2 * batches; ++i) {
    if (i == batches) cpu = cpu_us(engine);
    receivers.expect(batch * Lines::bytes * clients);
    const auto began = Clock::now();
    for (std::size_t k = 0; k < batch; ++k) {
      engine.append(lines.next(), {TopicId{0}, RouteId{0}, ++offset});
    }
    engine.publish();
    receivers.wait();
    if (i >= batches) times.push_back(us_since(began));
  }
  cpu = (cpu_us(engine) - cpu) / static_cast<double>(batches * batch * clients);
  std::sort(times.begin(), times.end());
  return {cpu, times[times.size() / 2], times[times.size() * 99 / 100]};
}

void stalled() {
  for (const std::size_t count : {0u, 100u}) (void)beside(count);  // to warm up
  std::array<std::vector<Healthy>, 2> runs;
  for (int run = 0; run < 5; ++run) {
    for (const std::size_t with : {0u, 1u}) runs[with].push_back(beside(with * 100));
  }
  for (const std::size_t with : {0u, 1u}) {
    const auto middle = [&](double Healthy::*part) {
      std::vector<double> all;
      for (const Healthy& each : runs[with]) all.push_back(each.*part);
      return median(all);
    };
    fmt::print("stalled: {:>3} beside 1000 healthy: {:.4f} us of CPU per delivery to a healthy one, ",
               with * 100, middle(&Healthy::cpu_us));
    fmt::print("64 events to all of them in p50 {:.1f} ms, p99 {:.1f} ms\n", middle(&Healthy::p50_us) / 1e3,
               middle(&Healthy::p99_us) / 1e3);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view only = argc > 1 ? argv[1] : "";
  backplane::bench::raise_file_limit();
  if (only.empty() || only == "idle") idle();
  if (only.empty() || only == "topics") topics();
  if (only.empty() || only == "members") members();
  if (only.empty() || only == "stalled") stalled();
  return 0;
}
