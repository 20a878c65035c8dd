// The fan-out engine with and without TLS, in turns: CPU time per event and per delivery, of all threads of
// the server. The clients read what comes and decrypt nothing.
//
//   bench_security_tls [deliveries per run] [rounds]
//
// Figures are medians of the rounds (and the extremes); ratios compare runs of the same round. "TLS port" is
// a client without TLS on a port that also serves TLS.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "bench/fanout/loopback.hpp"
#include "bench/fanout/receivers.hpp"
#include "bench/fanout/workload.hpp"
#include "bench/median.hpp"
#include "fanout/engine.hpp"

namespace {

using namespace backplane::fanout;
using backplane::Descriptor;
using backplane::bench::IgnoringHandler;
using backplane::bench::Lines;
using backplane::bench::must;
using backplane::bench::ratio;
using backplane::bench::Receivers;
using backplane::bench::spread;
using backplane::bench::thread_cpu_us;
using backplane::bench::with_extremes;

enum class Mode : std::uint8_t { plain, either, encrypted };

struct Shape {
  std::size_t clients;
  std::size_t batch_events;  ///< written to a client at once
  std::size_t batches;
};

/// A certificate in a folder of its own.
std::shared_ptr<const TlsContext> make_context() {
  std::string folder = (std::filesystem::temp_directory_path() / "backplane-bench-XXXXXX").string();
  must(::mkdtemp(folder.data()) != nullptr, "mkdtemp");
  const std::string command = fmt::format(
      "cd {} && umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
      "b.key -out "
      "b.pem -days 30 -subj /CN=bench 2>b.log",
      folder);
  must(std::system(command.c_str()) == 0, "openssl req");
  auto context = TlsContext::load({{folder + "/b.pem"}, {folder + "/b.key"}, {}});
  std::filesystem::remove_all(folder);
  must(context.has_value(), "TlsContext::load");
  return *context;
}

/// Reads from all sockets on a thread, and throws everything away.
class Drain {
 public:
  Drain() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), stop_(::eventfd(0, EFD_CLOEXEC)) { watch(stop_.get()); }
  ~Drain() {
    const std::uint64_t one = 1;
    must(::write(stop_.get(), &one, sizeof one) == sizeof one, "write");
    thread_.join();
  }
  Drain(const Drain&) = delete;
  Drain& operator=(const Drain&) = delete;
  void add(Descriptor socket) {
    must(::fcntl(socket.get(), F_SETFL, O_NONBLOCK) == 0, "fcntl");
    watch(socket.get());
    sockets_.push_back(std::move(socket));
  }
  void start() {
    thread_ = std::thread([this] { run(); });
  }

 private:
  void watch(int fd) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    must(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
  }
  void run() const {
    std::vector<char> buffer(256u << 10);
    std::array<epoll_event, 256> events;
    for (;;) {
      const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < ready; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == stop_.get()) return;
        (void)::recv(fd, buffer.data(), buffer.size(), 0);
      }
    }
  }

  Descriptor epoll_;
  Descriptor stop_;
  std::vector<Descriptor> sockets_;
  std::thread thread_;
};

/// @returns CPU µs per delivery.
double run(const Shape& shape, Mode mode, const std::shared_ptr<const TlsContext>& context) {
  EngineOptions options;
  if (mode != Mode::plain) options.worker.tls.context = context;
  options.worker.tls.required = mode == Mode::encrypted;
  Engine engine(options);
  engine.set_route(RouteId{1}, {AudienceId{1}});
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> client_context(SSL_CTX_new(TLS_client_method()),
                                                                         &SSL_CTX_free);
  // Until all have read: each owns what its socket needs.
  std::vector<std::unique_ptr<SSL, decltype(&SSL_free)>> connections;
  Drain drain;
  for (auto& [client, server] : Receivers::connect(shape.clients)) {
    const ClientId id =
        engine.adopt(std::move(server), [](Client&) { return std::make_unique<IgnoringHandler>(); });
    engine.join(id, AudienceId{1});
    engine.publish();
    if (mode == Mode::encrypted) {
      must(::fcntl(client.get(), F_SETFL, 0) == 0, "fcntl");
      connections.emplace_back(SSL_new(client_context.get()), &SSL_free);
      SSL_set_fd(connections.back().get(), client.get());
      must(SSL_connect(connections.back().get()) == 1, "SSL_connect");
    } else {
      must(::send(client.get(), "\n", 1, 0) == 1, "send");
    }
    drain.add(std::move(client));
  }
  drain.start();
  Lines lines;
  std::uint64_t offset = 0;
  double publishing_us = 0;
  const auto batch = [&] {
    const double before = thread_cpu_us();
    for (std::size_t i = 0; i < shape.batch_events; ++i)
      engine.append(lines.next(), {TopicId{1}, RouteId{1}, ++offset});
    engine.publish();
    publishing_us += thread_cpu_us() - before;
    while (engine.counters().delivered < offset * shape.clients)
      std::this_thread::sleep_for(std::chrono::microseconds{50});
  };
  const auto cpu_us = [&] {
    return publishing_us + std::chrono::duration<double, std::micro>(engine.cpu_time()).count();
  };
  for (std::size_t i = 0; i < shape.batches / 10 + 1; ++i) batch();
  const double before = cpu_us();
  for (std::size_t i = 0; i < shape.batches; ++i) batch();
  return (cpu_us() - before) / static_cast<double>(shape.batches * shape.batch_events * shape.clients);
}

void compare(const Shape& shape, std::size_t rounds, const std::shared_ptr<const TlsContext>& context) {
  constexpr std::array<Mode, 3> modes{Mode::plain, Mode::either, Mode::encrypted};
  constexpr std::array<const char*, 3> names{"plain", "TLS port", "TLS"};
  std::array<std::vector<double>, 3> deliveries;
  std::array<std::vector<double>, 3> events;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < modes.size(); ++i) {
      const std::size_t at = round % 2 == 0 ? i : modes.size() - 1 - i;
      const double cpu_us = run(shape, modes[at], context);
      deliveries[at].push_back(cpu_us);
      events[at].push_back(cpu_us * static_cast<double>(shape.clients));
    }
  }
  for (std::size_t at = 0; at < modes.size(); ++at) {
    fmt::print("{:>8} {:>8} {:<9} {:>24} {:>24} {:>18}\n", shape.clients, shape.batch_events, names[at],
               with_extremes(spread(events[at]), 1), with_extremes(spread(deliveries[at]), 4),
               at == 0 ? "" : with_extremes(ratio(deliveries[at], deliveries[0]), 2));
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t deliveries = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 3'200'000;
  const std::size_t rounds = argc > 2 ? std::max<std::size_t>(std::strtoull(argv[2], nullptr, 10), 1) : 3;
  backplane::bench::raise_file_limit();
  const auto context = make_context();
  fmt::print("The engine's CPU time, {} rounds, {} bytes per delivery, by events per write\n", rounds,
             Lines::bytes);
  fmt::print("{:>8} {:>8} {:<9} {:>24} {:>24} {:>18}\n", "clients", "events", "", "us an event",
             "us a delivery", "CPU, of plain");
  for (const std::size_t clients : {100u, 1000u}) {
    for (const std::size_t events : {1u, 64u}) {
      // A single event costs a write.
      const std::size_t all = events == 1 ? deliveries / 8 : deliveries;
      compare({clients, events, std::max<std::size_t>(all / (clients * events), 1)}, rounds, context);
    }
  }
  return 0;
}
