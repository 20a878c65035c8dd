// backplane sub PATTERN…: events as lines on standard output.

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "cli/addresses.hpp"
#include "cli/command.hpp"
#include "clients/lib/follower.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/pattern.hpp"
#include "core/zmq/socket.hpp"
#include "gateway/encode/encoder.hpp"
#include "gateway/notice.hpp"

namespace backplane::cli {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// A broker that is there answers in a few ms; after this a person is told, or the next one is tried.
constexpr Clock::duration patience = 1s;
/// Output is handed over in pieces of this size at the latest.
constexpr std::size_t output_bytes = 64u << 10;

struct SubOptions {
  std::vector<std::string> patterns;
  std::optional<std::uint64_t> count;
  std::string timeout;  ///< empty: none
  std::string format = "text";
  bool strict{};
  AddressFlags addresses;
};

/// What one `backplane sub` prints and when it ends. Lives on the main thread; is told by its follower.
class Reader final : public FollowerListener {
 public:
  Reader(std::vector<Pattern> patterns, gateway::Format format, std::optional<std::uint64_t> count)
      : patterns_(std::move(patterns)), format_(format), left_(count.value_or(no_limit)) {}

  void on_event(const Delivery& delivery) override {
    if (left_ == 0 || closed_) return;
    if (!wants(delivery.topic)) return;
    if (!encoder_.encode(format_, delivery.topic, delivery.event, delivery.stamp, output_)) {
      complain("sub", fmt::format("an event of {} cannot be read", delivery.topic));
      return;
    }
    ++seen_;
    remember_stream(delivery.topic, delivery.stamp.stream);
    if (left_ != no_limit) --left_;
    if (output_.size() >= output_bytes) flush();
  }
  void on_live(std::uint64_t) override {}
  void on_connection(bool up) override { connected_ = up; }
  void on_retained(std::uint64_t, const Delivery&) override {}
  void on_retained_end(std::uint64_t, const std::optional<Error>&) override {}
  void on_gap(const Gap& gap) override {
    if (left_ == 0 || !wants(gap.topic)) return;
    remember_stream(gap.topic, gap.stream);
    tell({.kind = gateway::Notice::Kind::gap,
          .topic = std::string(gap.topic),
          .stream = gap.stream,
          .first = gap.first,
          .last = gap.last,
          .reason = name(gap.reason)});
  }
  void on_reset(const Reset& reset) override {
    if (left_ == 0) return;
    for (auto& [topic, stream] : streams_) {
      if (stream != reset.old_stream) continue;
      stream = reset.new_stream;
      tell({.kind = gateway::Notice::Kind::reset, .topic = topic, .stream = stream, .reason = {}});
    }
  }

  /// Writes what there is. Blocks while standard output does.
  void flush() {
    std::string_view rest = output_;
    while (!rest.empty() && !closed_) {
      const ssize_t bytes = ::write(STDOUT_FILENO, rest.data(), rest.size());
      if (bytes >= 0) {
        rest.remove_prefix(static_cast<std::size_t>(bytes));
      } else if (errno == EAGAIN) {
        pollfd writable{STDOUT_FILENO, POLLOUT, 0};
        ::poll(&writable, 1, -1);
      } else if (errno != EINTR) {
        closed_ = true;
      }
    }
    output_.clear();
  }

  void set_closed() { closed_ = true; }
  [[nodiscard]] bool done() const { return closed_ || left_ == 0; }
  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] std::uint64_t seen() const { return seen_; }
  /// Whether there were events that it will never print.
  [[nodiscard]] bool missed() const { return missed_; }

 private:
  [[nodiscard]] bool wants(std::string_view topic) const {
    return std::any_of(patterns_.begin(), patterns_.end(),
                       [&](const Pattern& each) { return each.matches(topic); });
  }

  void remember_stream(std::string_view topic, std::uint64_t stream) {
    if (const auto known = streams_.find(topic); known != streams_.end()) {
      known->second = stream;
    } else {
      streams_.emplace(topic, stream);
    }
  }

  /// In its place among the events: as the gateway's clients are told.
  void tell(const gateway::Notice& notice) {
    missed_ = true;
    gateway::append_notice(format_, notice, output_);
  }

  static constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();
  std::vector<Pattern> patterns_;
  gateway::Format format_;
  std::uint64_t left_;
  std::uint64_t seen_{};
  bool connected_{};
  bool closed_{};  ///< nobody reads our output any more
  bool missed_{};
  std::map<std::string, std::uint64_t, std::less<>> streams_;  ///< of each topic printed
  gateway::Encoder encoder_;
  std::string output_;
};

/// Keeps one follower at one of the brokers: at the next where one doesn't answer. Lives on the main thread.
class Following {
 public:
  Following(mq::Context& context, std::vector<BrokerAddress> brokers, std::vector<std::string> prefixes,
            Reader& reader)
      : context_(context), brokers_(std::move(brokers)), prefixes_(std::move(prefixes)), reader_(reader) {
    follow();
  }

  [[nodiscard]] Follower& follower() { return *follower_; }
  [[nodiscard]] Clock::time_point deadline() const {
    return reader_.connected() ? Clock::time_point::max() : give_up_;
  }

  /// Says when the broker goes and comes, and moves on from one that doesn't answer.
  void watch(Clock::time_point now) {
    if (reader_.connected()) {
      if (told_) complain("sub", fmt::format("the broker at {} is there", brokers_[at_].egress));
      told_ = false;
      was_connected_ = true;
      return;
    }
    if (std::exchange(was_connected_, false)) give_up_ = now + patience;
    if (now < give_up_) return;
    give_up_ = now + patience;
    if (!std::exchange(told_, true)) {
      complain("sub", fmt::format("no broker answers at {}; waiting for one", all_endpoints()));
    }
    if (brokers_.size() == 1) return;
    at_ = (at_ + 1) % brokers_.size();
    follow();
  }

 private:
  void follow() {
    follower_.reset();
    Follower::Options options;
    options.broker = {brokers_[at_].ingress, brokers_[at_].egress, brokers_[at_].control};
    follower_ = std::make_unique<Follower>(context_, options, reader_);
    for (const std::string& prefix : prefixes_) follower_->subscribe(prefix);
    give_up_ = Clock::now() + patience;
  }

  [[nodiscard]] std::string all_endpoints() const {
    std::string all;
    for (const BrokerAddress& broker : brokers_) all += (all.empty() ? "" : ", ") + broker.egress;
    return all;
  }

  mq::Context& context_;
  std::vector<BrokerAddress> brokers_;
  std::vector<std::string> prefixes_;
  Reader& reader_;
  std::size_t at_{};
  std::unique_ptr<Follower> follower_;
  Clock::time_point give_up_;
  bool told_{};
  bool was_connected_{};
};

/// Sleeps until there is something to do. @returns whether a signal asks us to end.
bool sleep_until(Clock::time_point deadline, Following& following, Signals& signals, Reader& reader) {
  std::vector<pollfd> waiting{{signals.fd(), POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
  for (const int fd : following.follower().fds()) waiting.push_back({fd, POLLIN, 0});
  deadline = std::min({deadline, following.deadline(), following.follower().next_deadline()});
  int timeout_ms = 0;
  if (!following.follower().pending()) {
    constexpr Clock::duration longest = 1h;
    const auto left = std::min(longest, deadline - Clock::now());
    timeout_ms = std::max(0, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count()));
  }
  ::poll(waiting.data(), waiting.size(), timeout_ms);
  // `| head` has gone: nobody is left to print for.
  if ((waiting[1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) reader.set_closed();
  return signals.next() == Signals::Event::stop;
}

ExitCode follow(const SubOptions& options, Following& following, Reader& reader, Signals& signals,
                Clock::time_point deadline) {
  while (!reader.done()) {
    const Clock::time_point now = Clock::now();
    const std::size_t work = following.follower().do_work(now);
    reader.flush();
    if (reader.done()) break;
    if (now >= deadline) {
      if (!options.count) return ExitCode::done;
      complain("sub", fmt::format("wanted {} events within {}, got {}", *options.count, options.timeout,
                                  reader.seen()));
      return ExitCode::failed;
    }
    following.watch(now);
    if (work > 0) {
      if (signals.next() == Signals::Event::stop) break;
    } else if (sleep_until(deadline, following, signals, reader)) {
      break;
    }
  }
  return ExitCode::done;
}

ExitCode run_sub(const SubOptions& options) {
  std::vector<Pattern> patterns;
  std::vector<std::string> prefixes;
  for (const std::string& text : options.patterns) {
    auto pattern = Pattern::parse(text);
    if (!pattern) {
      complain("sub", "PATTERN: " + pattern.error().text);
      return ExitCode::usage;
    }
    prefixes.emplace_back(pattern->literal_prefix());
    patterns.push_back(std::move(*pattern));
  }
  if (options.count == std::uint64_t{0}) {
    complain("sub", "--count: wanted 1 or more, got 0");
    return ExitCode::usage;
  }
  const auto format = gateway::parse_format(options.format);
  if (!format) {
    complain("sub", fmt::format("--format: wanted text, text+offset or json, got \"{}\"", options.format));
    return ExitCode::usage;
  }
  Clock::time_point deadline = Clock::time_point::max();
  if (!options.timeout.empty()) {
    const auto timeout = parse_duration(options.timeout, "--timeout");
    if (!timeout) return complain("sub", timeout.error());
    if (*timeout < 365 * 24h) deadline = Clock::now() + *timeout;
  }
  auto brokers = resolve(options.addresses);
  if (!brokers) return complain("sub", brokers.error());

  Signals signals;  // before libzmq's threads, so that they inherit the mask
  mq::Context context;
  Reader reader(std::move(patterns), *format, options.count);
  Following following(context, std::move(*brokers), std::move(prefixes), reader);
  const ExitCode code = follow(options, following, reader, signals, deadline);
  return code == ExitCode::done && options.strict && reader.missed() ? ExitCode::gaps : code;
}

}  // namespace

Run add_sub(CLI::App& program) {
  auto options = std::make_shared<SubOptions>();
  CLI::App* app = program.add_subcommand("sub", "Print the events of some topics, a line each");
  app->add_option("PATTERN", options->patterns, "Topics; * stands for one token, a final > for one or more")
      ->required()
      ->type_name("");
  app->add_option("--count", options->count, "End after this many events")->type_name("N");
  app->add_option("--timeout", options->timeout,
                  "End after this time; with --count an error if it comes first")
      ->type_name("DURATION");
  app->add_option("--format", options->format, "text, text+offset or json")
      ->type_name("FORMAT")
      ->capture_default_str();
  app->add_flag("--strict", options->strict, "End with code 3 where events were missed (!GAP, !RESET)");
  add_addresses(*app, options->addresses);
  app->footer(
      "Example:\n"
      "  backplane sub 'stock.>' clock --count 10 --format json");
  return [options] { return run_sub(*options); };
}

}  // namespace backplane::cli
