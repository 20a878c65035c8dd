// Compares the rate of a link with that of one broker.
//
//   bench_link [events per run] [rounds]     (backplane is in the same folder)
//
// One broker: a publisher sends events of 128 bytes on 16 topics, until the broker has confirmed all of them.
// The link: it reads these from that broker's history and publishes them at a second broker, until that one
// has published all of them. All processes share the machine, so the link has two brokers beside it, and the
// publisher one. The result is the median of the rounds' ratios.

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.hpp>

#include "backplane/publisher.hpp"
#include "backplane/v1/control.pb.h"
#include "bench/broker/middle.hpp"
#include "bench/median.hpp"

namespace {

using namespace backplane;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

[[noreturn]] void fail(const std::string& text) {
  fmt::print(stderr, "{}\n", text);
  std::exit(1);
}

/// Publishes until everything is confirmed. @returns events per second
double publish(const bench::Endpoints& broker, std::uint64_t events) {
  Publisher::Options options;
  options.brokers = {{broker.ingress, broker.control}};
  options.source = "bench";
  Publisher publisher(options);
  if (!publisher.wait_ready(10s)) fail("no broker");
  const std::string text(128, 'x');
  const Clock::time_point begun = Clock::now();
  for (std::uint64_t event = 0; event < events; ++event) {
    const std::string topic = fmt::format("bench.{:02}", event % 16);
    while (publisher.offer_text(topic, text) == Offer::backpressured) std::this_thread::sleep_for(1ms);
  }
  if (!publisher.flush(60s)) fail("not everything was confirmed");
  return static_cast<double>(events) / seconds_since(begun);
}

pid_t start_link(const bench::Endpoints& from, const bench::Endpoints& to) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").replace_filename("backplane");
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
  ::execl(program.c_str(), program.c_str(), "link", "--log-level", "error", "--from-control",
          from.control.c_str(), "--to-ingress", to.ingress.c_str(), "--to-control", to.control.c_str(),
          "bench.>", nullptr);
  ::_exit(127);
}

/// Where the broker is.
class Position {
 public:
  explicit Position(const std::string& control) : socket_(context_, zmq::socket_type::req) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.connect(control);
  }
  std::uint64_t now() {
    v1::ControlRequest request;
    request.set_version(1);
    request.mutable_admitted()->set_source("bench");
    request.mutable_admitted()->set_session(1);
    socket_.send(zmq::buffer(request.SerializeAsString()), zmq::send_flags::none);
    zmq::message_t frame;
    v1::ControlReply reply;
    if (!socket_.recv(frame) || !reply.ParseFromArray(frame.data(), static_cast<int>(frame.size())))
      fail("no reply");
    return reply.position();
  }

 private:
  zmq::context_t context_;
  zmq::socket_t socket_;
};

/// @returns events per second, from the first that arrives on
double pass_on(const bench::Endpoints& from, const bench::Endpoints& to, std::uint64_t events) {
  Position position(to.control);
  const std::uint64_t before = position.now();
  const pid_t link = start_link(from, to);
  const Clock::time_point deadline = Clock::now() + 120s;
  std::uint64_t first = 0;
  Clock::time_point begun{};
  for (;;) {
    const std::uint64_t passed = position.now() - before;
    if (first == 0 && passed > 100) {  // some of them are events of the broker itself
      first = passed;
      begun = Clock::now();
    }
    if (passed >= events) break;
    if (Clock::now() > deadline) fail("the link does not pass everything on");
    std::this_thread::sleep_for(2ms);
  }
  const double rate = static_cast<double>(events - first) / seconds_since(begun);
  ::kill(link, SIGTERM);
  ::waitpid(link, nullptr, 0);
  return rate;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t events = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 400'000;
  const int rounds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 7;
  std::vector<double> brokers;
  std::vector<double> links;
  std::vector<double> ratios;
  fmt::print("{:<6} {:>18} {:>18} {:>8}\n", "round", "broker k events/s", "link k events/s", "ratio");
  for (int round = 0; round < rounds; ++round) {
    bench::Middle first([](int ready_fd) { bench::run_broker(ready_fd); });
    bench::Middle second([](int ready_fd) { bench::run_broker(ready_fd); });
    brokers.push_back(publish(first.endpoints, events) / 1'000);
    links.push_back(pass_on(first.endpoints, second.endpoints, events) / 1'000);
    ratios.push_back(links.back() / brokers.back());
    fmt::print("{:<6} {:>18.0f} {:>18.0f} {:>8.2f}\n", round + 1, brokers.back(), links.back(),
               ratios.back());
    std::fflush(stdout);
    first.end();
    second.end();
  }
  fmt::print("median: broker {:.0f} k/s, link {:.0f} k/s; ratio {:.2f}\n", bench::median(brokers),
             bench::median(links), bench::median(ratios));
  return 0;
}
