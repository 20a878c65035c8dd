// Cost of the client library compared with a plain SUB socket. Both read the same messages in turns:
// Client::next() and a loop that only receives. A message has two frames, the second one an Event with a
// 128-byte payload.
//
//   bench_client [events per run] [runs]
//
// Prints rates, the reader's CPU time per event, and the ratio of the medians.

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.hpp>

#include "backplane/client.hpp"
#include "backplane/v1/event.pb.h"
#include "bench/median.hpp"
#include "core/wire/stamp.hpp"

namespace {

using namespace std::chrono_literals;
using backplane::Client;
using backplane::bench::median;
using Clock = std::chrono::steady_clock;

constexpr std::string_view live_prefix = "$SYS.live.";
constexpr std::string_view go =
    "go.now";  // a reader that subscribes to it starts a run, after its live reply
constexpr std::uint64_t stream = 0x0000'0001'0000'0001;
constexpr std::size_t topics = 16;
constexpr auto patience = 30s;

struct Outcome {
  double events_per_second{};
  double cpu_ns_per_event{};
  bool complete{};
};

/// Stamps and sends events as a broker does, as fast as possible. Runs in a separate process.
class Sender {
 public:
  explicit Sender(std::uint64_t events) : events_(events), xpub_(context_, zmq::socket_type::xpub) {
    backplane::v1::Event event;
    event.set_source("bench@host");
    event.set_session(0x0123456789abcdef);
    event.set_sequence(1u << 28);
    event.mutable_time()->set_seconds(1'700'000'000);
    event.set_binary(std::string(128, 'x'));
    bytes_ = event.SerializeAsString();
    bytes_.resize(bytes_.size() + backplane::wire::stamp_bytes);
    const int on = 1;
    zmq_setsockopt(xpub_.handle(), ZMQ_XPUB_NODROP, &on, sizeof on);
    xpub_.set(zmq::sockopt::sndhwm, 10'000);
    xpub_.bind("tcp://127.0.0.1:0");
  }

  [[nodiscard]] std::string endpoint() const { return xpub_.get(zmq::sockopt::last_endpoint); }

  void run() {
    zmq::message_t message;
    bool start = false;
    for (;;) {
      if (!xpub_.recv(message)) continue;
      const std::string_view subscription = message.to_string_view();
      if (subscription.empty() || subscription.front() != 1) continue;
      if (subscription.substr(1).starts_with(live_prefix)) {
        send(subscription.substr(1), {stream, position_, 0, 0, 1});
        if (!std::exchange(start, false)) continue;
        for (std::uint64_t i = 0; i < events_; ++i) send_next();
      } else if (subscription.substr(1) == go) {
        start = true;
      }
    }
  }

 private:
  void send_next() {
    Tail& tail = tails_[position_ % topics];
    ++position_;
    send(tail.name, {stream, position_, ++tail.offset, tail.position, 1});
    tail.position = position_;
  }

  void send(std::string_view topic, const backplane::wire::Stamp& stamp) {
    std::array<std::byte, backplane::wire::stamp_bytes> tail{};
    backplane::wire::write_stamp(stamp, tail);
    std::copy(tail.begin(), tail.end(), reinterpret_cast<std::byte*>(&*bytes_.end() - tail.size()));
    (void)xpub_.send(zmq::buffer(topic), zmq::send_flags::sndmore);
    (void)xpub_.send(zmq::buffer(bytes_), zmq::send_flags::none);
  }

  struct Tail {
    std::string name;
    std::uint64_t offset{};
    std::uint64_t position{};
  };
  static std::vector<Tail> make_tails() {
    std::vector<Tail> tails;
    for (std::size_t i = 0; i < topics; ++i) tails.push_back({fmt::format("bench.topic{:x}", i)});
    return tails;
  }

  std::uint64_t events_;
  zmq::context_t context_;
  zmq::socket_t xpub_;
  std::string bytes_;
  std::uint64_t position_{};
  std::vector<Tail> tails_ = make_tails();
};

double cpu_ns() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto ns = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_usec) * 1e3;
  };
  return ns(used.ru_utime) + ns(used.ru_stime);
}

/// Measures the time from the first event to the last.
class Watch {
 public:
  void first() {
    begun_ = Clock::now();
    cpu_ = cpu_ns();
  }
  [[nodiscard]] Outcome last(std::uint64_t events) const {
    const std::chrono::duration<double> seconds = Clock::now() - begun_;
    const auto count = static_cast<double>(events);
    return {count / seconds.count(), (cpu_ns() - cpu_) / count, true};
  }

 private:
  Clock::time_point begun_;
  double cpu_{};
};

Outcome read_bare(const std::string& endpoint, std::uint64_t events) {
  zmq::context_t context;
  zmq::socket_t sub(context, zmq::socket_type::sub);
  sub.set(zmq::sockopt::rcvhwm, 100'000);
  sub.set(zmq::sockopt::rcvtimeo, static_cast<int>(std::chrono::milliseconds{patience}.count()));
  sub.connect(endpoint);
  sub.set(zmq::sockopt::subscribe, "bench.");
  sub.set(zmq::sockopt::subscribe, go);
  sub.set(zmq::sockopt::subscribe, "$SYS.live.bare");
  Watch watch;
  zmq::message_t topic;
  zmq::message_t event;
  std::size_t bytes = 0;
  if (!sub.recv(topic) || !sub.recv(event)) return {};  // the live reply
  for (std::uint64_t i = 0; i < events; ++i) {
    if (!sub.recv(topic) || !sub.recv(event)) return {};
    bytes += event.size();
    if (i == 0) watch.first();
  }
  return bytes > 0 ? watch.last(events) : Outcome{};
}

Outcome read_client(const std::string& endpoint, std::uint64_t events) {
  Client::Options options;
  options.brokers = {{endpoint, "tcp://127.0.0.1:1"}};  // without control: nothing needs to be requested
  Client client(options);
  client.subscribe({"bench.>", std::string(go)});
  Watch watch;
  std::size_t bytes = 0;
  const auto limit = Clock::now() + patience;
  for (std::uint64_t i = 0; i < events;) {
    const Client::Item* const item = client.next(1s);
    if (item == nullptr) {
      if (Clock::now() > limit) return {};
      continue;
    }
    if (const auto* event = std::get_if<Client::Event>(item)) {
      bytes += event->envelope().size();
      if (i++ == 0) watch.first();
    } else if (std::holds_alternative<Client::Gap>(*item)) {
      return {};
    }
  }
  return bytes > 0 ? watch.last(events) : Outcome{};
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t events = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 2'000'000;
  const int runs = argc > 2 ? std::atoi(argv[2]) : 5;
  if (events == 0 || runs < 1) {
    fmt::print(stderr, "usage: bench_client [events per run] [runs]\n");
    return 2;
  }
  std::array<int, 2> pipe{};
  if (::pipe(pipe.data()) != 0) return 1;
  const pid_t child = ::fork();
  if (child == 0) {
    Sender sender(events);
    const std::string endpoint = sender.endpoint();
    if (::write(pipe[1], endpoint.data(), endpoint.size()) < 0) ::_exit(1);
    sender.run();
  }
  std::array<char, 256> text{};
  const ssize_t size = ::read(pipe[0], text.data(), text.size());
  const std::string endpoint(text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));

  struct Reader {
    std::string_view name;
    std::function<Outcome(const std::string&, std::uint64_t)> read;
    std::vector<double> rates;
    std::vector<double> cpu;
  };
  std::array<Reader, 2> readers{{{"SUB alone", read_bare, {}, {}}, {"client", read_client, {}, {}}}};
  bool complete = true;
  for (int run = 0; run < runs && complete; ++run) {
    for (Reader& reader : readers) {
      const Outcome outcome = reader.read(endpoint, events);
      complete = complete && outcome.complete;
      reader.rates.push_back(outcome.events_per_second);
      reader.cpu.push_back(outcome.cpu_ns_per_event);
      fmt::print("{:>10}  {:>10.0f} events/s  {:>6.0f} ns CPU per event\n", reader.name,
                 outcome.events_per_second, outcome.cpu_ns_per_event);
    }
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  if (!complete) {
    fmt::print(stderr, "some events did not arrive\n");
    return 1;
  }
  fmt::print(
      "median: client {:.0f} events/s, SUB alone {:.0f}: ratio {:.2f} (expected 0.70 or more); CPU "
      "{:.2f} times\n",
      median(readers[1].rates), median(readers[0].rates), median(readers[1].rates) / median(readers[0].rates),
      median(readers[1].cpu) / median(readers[0].cpu));
  return 0;
}
