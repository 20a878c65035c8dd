// backplane bench pub|sub|latency: how many events per second, and how fast.

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include <backplane/client.hpp>
#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/client_options.hpp"
#include "cli/connection/confirmed_publisher.hpp"
#include "cli/connection/endpoint_diagnosis.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/console/progress_line.hpp"
#include "cli/console/units.hpp"
#include "cli/measurement/bench_report.hpp"
#include "cli/subcommands.hpp"
#include "core/config/size.hpp"
#include "core/process/host.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/pattern.hpp"
#include "core/topic/topic.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Waiter::Clock;

constexpr std::chrono::milliseconds reply_limit = 5s;
/// Events are read in turns, between which signals are looked at.
constexpr std::size_t events_per_turn = 1000;
/// How often the time until an event is confirmed is measured.
constexpr Clock::duration sample_interval = 10ms;
/// More than an event needs beside its payload.
constexpr std::size_t envelope_bytes_max = 4096;
constexpr std::uint64_t payload_bytes_max =
    (256u << 20) - envelope_bytes_max;  // the largest limit of a broker

struct BenchFlags {
  std::string topic;
  std::string pattern = "bench.>";
  std::string size = "128";
  std::optional<std::uint64_t> count;
  std::string time;  ///< empty if not given
  std::optional<std::uint64_t> rate;
  std::uint64_t topics{1};
  bool json{};
  AddressFlags addresses;
};

struct BenchOptions {
  std::string topic;
  std::uint64_t topics{1};
  std::size_t size{};
  std::uint64_t count{UINT64_MAX};
  std::chrono::nanoseconds time{0};
  std::uint64_t rate{};  ///< 0: as fast as possible
  bool json{};
};

tl::unexpected<Error> wrong(std::string text) {
  return fail(ErrorCode::invalid_argument, std::move(text));
}

/// @param size_min  bytes that the bench needs in each payload
Result<BenchOptions> read_options(const BenchFlags& flags, std::uint64_t size_min) {
  BenchOptions options;
  options.topic = flags.topic;
  options.topics = flags.topics;
  options.json = flags.json;
  options.rate = flags.rate.value_or(0);
  if (!flags.topic.empty()) {
    if (const TopicFault fault = check_topic(flags.topic); fault != TopicFault::none) {
      return wrong("--topic: " + backplane::describe(fault, flags.topic));
    }
    if (is_system_topic(flags.topic)) {
      return wrong(fmt::format("--topic: expected a topic that does not belong to the system, got \"{}\"",
                               flags.topic));
    }
  }
  const auto size = config::parse_size(flags.size, "--size");
  if (!size) return tl::unexpected(size.error());
  if (*size < size_min || *size > payload_bytes_max) {
    return wrong(
        fmt::format("--size: expected {} to {} bytes, got \"{}\"", size_min, payload_bytes_max, flags.size));
  }
  options.size = *size;
  if (flags.count) options.count = *flags.count;
  options.time = flags.count ? std::chrono::nanoseconds(365 * 24h) : std::chrono::nanoseconds(10s);
  if (!flags.time.empty()) {
    const auto time = parse_duration(flags.time, "--time");
    if (!time) return tl::unexpected(time.error());
    if (*time <= 0ns || *time > 365 * 24h) {
      return wrong(fmt::format("--time: expected more than 0 and at most 365d, got \"{}\"", flags.time));
    }
    options.time = *time;
  }
  return options;
}

ExitCode print_report(const BenchReport& report, bool json) {
  Output output;
  if (json) {
    output.line(bench_json(report));
  } else {
    for (const std::string& line : bench_text(report)) output.line(line);
  }
  output.flush();
  if (output.problem().empty()) return ExitCode::done;
  print_message("bench " + report.bench, output.problem());
  return ExitCode::failed;
}

/// `ingress` or another endpoint of each broker, for messages.
std::string joined(const std::vector<BrokerEndpoints>& brokers, std::string BrokerEndpoints::*endpoint) {
  std::string all;
  for (const BrokerEndpoints& each : brokers) all += (all.empty() ? "" : ", ") + each.*endpoint;
  return all;
}

/// Why no publisher is ready within reply_limit.
std::string not_ready(const std::vector<BrokerEndpoints>& brokers, Waiter& waiter) {
  std::vector<std::string> endpoints;
  for (const BrokerEndpoints& each : brokers) endpoints.push_back(each.ingress);
  return no_broker(endpoints, reply_limit, waiter).text;
}

/// When the next event is due, at a rate.
class Pace {
 public:
  Pace(std::uint64_t per_second, Clock::time_point start) : per_second_(per_second), start_(start) {}

  /// Of the event after `sent` others.
  [[nodiscard]] Clock::time_point due(std::uint64_t sent) const {
    if (per_second_ == 0) return start_;
    // In doubles, because the number of events times 1e9 does not fit for long.
    const double seconds = static_cast<double>(sent) / static_cast<double>(per_second_);
    return start_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }

 private:
  std::uint64_t per_second_;
  Clock::time_point start_;
};

void show(ProgressLine& progress, const Rates& rates, const BenchOptions& options, Clock::time_point now) {
  if (!progress.due(now)) return;
  const double by_time = std::chrono::duration<double>(rates.elapsed()) / options.time;
  const double by_count = static_cast<double>(rates.events()) / static_cast<double>(options.count);
  const double done = std::min(1.0, std::max(by_time, by_count));
  constexpr std::size_t width = 20;
  constexpr double percent = 100;
  const auto full = static_cast<std::size_t>(done * width);
  progress.show_text(fmt::format("[{}{}] {:3.0f} %  {} events/s", std::string(full, '#'),
                                 std::string(width - full, '.'), percent * done, short_rate(rates.current())),
                     now);
}

// ── publishing ───────────────────────────────────────────────────────────────────────────────────────────

/// Publishes, and measures how many events the broker admits. Lives on the main thread; owns the publisher.
class PubBench {
 public:
  PubBench(const BenchOptions& options, const std::vector<BrokerEndpoints>& brokers, Waiter& waiter)
      : options_(options),
        brokers_(brokers),
        waiter_(waiter),
        payload_(options.size, 'x'),
        publisher_("bench", brokers, std::max<std::size_t>(1u << 20, options.size + envelope_bytes_max),
                   waiter, [](std::string_view text) { print_message("bench pub", text); }) {
    for (std::uint64_t number = 0; number < options.topics; ++number) {
      topics_.push_back(options.topics == 1 ? options.topic : fmt::format("{}.{}", options.topic, number));
    }
  }

  ExitCode run() {
    if (const std::string problem = publisher_.wait_ready(reply_limit); !problem.empty())
      return failed(problem);
    if (!publisher_.status().ready) return failed(not_ready(brokers_, waiter_));
    rates_ = Rates(Clock::now());
    ProgressLine progress("bench pub");
    const auto begun = Clock::now();
    const Pace pace(options_.rate, begun);
    const auto end = begun + options_.time;
    std::string problem;
    for (std::uint64_t sent = 0; sent < options_.count && problem.empty() && !waiter_.stopped(); ++sent) {
      const auto due = pace.due(sent);
      if (due >= end) break;
      while (Clock::now() < due && waiter_.wait({}, std::min(due, Clock::now() + sample_interval))) {
        look(progress);
      }
      if (sent % look_every == 0) {
        look(progress);
        (void)waiter_.wait({}, Clock::time_point::min());  // for signals
        if (Clock::now() >= end) break;
      }
      problem = publish(topics_[sent % topics_.size()]);
    }
    publisher_.request_confirmation();
    wait_confirmed(progress);
    progress.erase();
    const PublisherStatus status = publisher_.status();
    for (const std::string& topic : topics_) {
      (void)publisher_.offer([&](Publisher& to) { return to.offer_clear(topic); }, reply_limit);
    }
    const std::string unconfirmed = publisher_.finish(reply_limit);
    if (problem.empty() && status.refused == 0) problem = unconfirmed;
    const std::string what = fmt::format(
        "{} bytes each, on {}", options_.size,
        topics_.size() == 1 ? options_.topic : fmt::format("{}.0 to {}", options_.topic, topics_.size() - 1));
    const ExitCode printed = print_report({"pub",
                                           joined(brokers_, &BrokerEndpoints::ingress),
                                           what,
                                           rates_,
                                           "confirmed",
                                           confirmed_,
                                           {{"refused", status.refused}, {"in_doubt", status.in_doubt}}},
                                          options_.json);
    if (!problem.empty()) return failed(problem);
    if (status.refused > 0) return failed(status.last_problem);
    return printed;
  }

 private:
  static constexpr std::uint64_t look_every = 64;

  static ExitCode failed(std::string_view problem) {
    print_message("bench pub", problem);
    return ExitCode::failed;
  }

  /// @returns why the event was not accepted, or an empty string.
  std::string publish(const std::string& topic) {
    const Offer offer =
        publisher_.offer([&](Publisher& to) { return to.offer_bytes(topic, payload_); }, reply_limit);
    if (offer == Offer::accepted || waiter_.stopped()) return {};
    if (offer == Offer::too_large) {
      return fmt::format("cannot publish {} bytes: the broker accepts events of at most {} bytes",
                         options_.size, publisher_.event_bytes_max());
    }
    return "cannot publish: the broker has stopped confirming events";
  }

  /// Takes note of what was confirmed since, and now and then begins to measure an event's confirmation.
  void look(ProgressLine& progress) {
    const PublisherStatus status = publisher_.status();
    const auto now = Clock::now();
    const std::uint64_t events = status.confirmed - counted_;
    rates_.record(events, events * options_.size, now);
    counted_ = status.confirmed;
    while (!samples_.empty() && samples_.front().sequence <= status.confirmed) {
      confirmed_.record(now - samples_.front().offered);
      samples_.pop_front();
    }
    if (now >= next_sample_ && status.offered > sampled_) {
      next_sample_ = now + sample_interval;
      sampled_ = status.offered;
      samples_.push_back({status.offered, now});
      publisher_.request_confirmation();
    }
    show(progress, rates_, options_, now);
  }

  /// Waits until everything is confirmed, or nothing has been for a while.
  void wait_confirmed(ProgressLine& progress) {
    auto until = Clock::now() + reply_limit;
    while (!waiter_.stopped() && Clock::now() < until) {
      const std::uint64_t before = counted_;
      look(progress);
      if (counted_ >= publisher_.status().offered) return;
      if (counted_ != before) until = Clock::now() + reply_limit;
      (void)waiter_.wait({}, std::min(until, Clock::now() + sample_interval));
    }
  }

  struct Waiting {
    std::uint64_t sequence;
    Clock::time_point offered;
  };

  const BenchOptions& options_;
  const std::vector<BrokerEndpoints>& brokers_;
  Waiter& waiter_;
  std::string payload_;
  std::vector<std::string> topics_;
  Rates rates_{Clock::now()};
  Durations confirmed_;
  std::deque<Waiting> samples_;
  Clock::time_point next_sample_{};
  std::uint64_t sampled_{};
  std::uint64_t counted_{};
  ConfirmedPublisher publisher_;
};

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

/// A client of brokers whose connection is needed now. Lives on the main thread.
class Reader {
 public:
  Reader(const std::vector<BrokerEndpoints>& brokers, const std::vector<std::string>& patterns,
         Waiter& waiter)
      : brokers_(brokers), waiter_(waiter), client_(client_options("bench", brokers)), begun_(Clock::now()) {
    client_.subscribe(patterns);
  }

  /// Takes the items that have arrived, and calls `on_event` for each event. @returns whether there may be
  /// more at once; or why reading is pointless.
  template <class OnEvent>
  Result<bool> take(const OnEvent& on_event) {
    for (std::size_t taken = 0; taken < events_per_turn; ++taken) {
      const Client::Item* const item = client_.next(0ms);
      if (item == nullptr) return check_connection().map([] { return false; });
      if (const auto* event = std::get_if<Client::Event>(item)) {
        on_event(*event);
      } else if (const auto* gap = std::get_if<Client::Gap>(item)) {
        missed_ += gap->first == 0 ? 1 : gap->last - gap->first + 1;
      } else if (std::holds_alternative<Client::Subscribed>(*item)) {
        subscribed_ = true;
      } else if (const auto* refused = std::get_if<Client::Refused>(item)) {
        return fail(ErrorCode::unavailable, refused->text);
      } else if (const auto* broker = std::get_if<Client::Broker>(item);
                 broker && !broker->key_problem.empty()) {
        return fail(ErrorCode::unavailable, broker->key_problem);
      }
    }
    return true;
  }

  /// Blocks until there is something to take, or `until`.
  void wait(Clock::time_point until) {
    const std::array fds{client_.fd()};
    const auto check = subscribed_ ? Clock::time_point::max() : next_check();
    (void)waiter_.wait(fds, std::min({until, client_.wait_until(), check}));
  }

  [[nodiscard]] bool subscribed() const noexcept { return subscribed_; }
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

 private:
  [[nodiscard]] Clock::time_point next_check() const {
    return begun_ + (refusal_checked_ ? Clock::duration(reply_limit) : Clock::duration(refusal_patience));
  }

  Result<void> check_connection() {
    if (subscribed_ || waiter_.stopped() || Clock::now() < next_check()) return {};
    std::vector<std::string> endpoints;
    for (const BrokerEndpoints& each : brokers_) endpoints.push_back(each.egress);
    if (std::exchange(refusal_checked_, true)) {
      return tl::unexpected(no_broker(endpoints, reply_limit, waiter_));
    }
    if (auto nobody = nothing_listens(endpoints, waiter_)) return tl::unexpected(std::move(*nobody));
    return {};
  }

  const std::vector<BrokerEndpoints>& brokers_;
  Waiter& waiter_;
  Client client_;
  Clock::time_point begun_;
  bool refusal_checked_{};
  bool subscribed_{};
  std::uint64_t missed_{};
};

ExitCode bench_sub(const BenchOptions& options, const std::string& pattern,
                   const std::vector<BrokerEndpoints>& brokers, Waiter& waiter) {
  Reader reader(brokers, {pattern}, waiter);
  Rates rates(Clock::now());
  Durations ages;
  ProgressLine progress("bench sub");
  std::optional<Clock::time_point> end;  // counts from the subscription, and rates from the first event
  while (!waiter.stopped() && rates.events() < options.count && (!end || Clock::now() < *end)) {
    const auto more = reader.take([&](const Client::Event& event) {
      const auto now = Clock::now();
      if (rates.events() == 0) rates = Rates(now);
      if (rates.events() >= options.count) return;
      rates.record(1, event.content().size(), now);
      ages.record(std::chrono::nanoseconds{unix_now_ns() - event.received_ns()});
    });
    if (!more) {
      progress.erase();
      return print_error("bench sub", more.error());
    }
    if (!end && reader.subscribed())
      end = Clock::now() + std::chrono::duration_cast<Clock::duration>(options.time);
    show(progress, rates, options, Clock::now());
    if (*more) {
      (void)waiter.wait({}, Clock::time_point::min());
    } else if (rates.events() < options.count) {
      reader.wait(std::min(end.value_or(Clock::time_point::max()), Clock::now() + 200ms));
    }
  }
  progress.erase();
  const ExitCode printed = print_report({"sub",
                                         joined(brokers, &BrokerEndpoints::egress),
                                         pattern,
                                         rates,
                                         "age",
                                         ages,
                                         {{"missed", reader.missed()}}},
                                        options.json);
  if (options.count == UINT64_MAX || rates.events() >= options.count || waiter.stopped()) return printed;
  print_message("bench sub", fmt::format("expected {} events within {}, got {}", options.count,
                                         format_duration(options.time), rates.events()));
  return ExitCode::failed;
}

// ── both ─────────────────────────────────────────────────────────────────────────────────────────────────

/// What an event of `bench latency` begins with.
struct Mark {
  std::uint64_t run;  ///< other runs may use the topic, too
  std::int64_t sent_ns;
};

std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

ExitCode bench_latency(const BenchOptions& options, const std::vector<BrokerEndpoints>& brokers,
                       Waiter& waiter) {
  constexpr std::string_view command = "bench latency";
  const auto failed = [&](std::string_view problem) {
    print_message(command, problem);
    return ExitCode::failed;
  };
  ConfirmedPublisher publisher("bench", brokers,
                               std::max<std::size_t>(1u << 20, options.size + envelope_bytes_max), waiter,
                               [&](std::string_view text) { print_message(command, text); });
  if (const std::string problem = publisher.wait_ready(reply_limit); !problem.empty()) return failed(problem);
  if (!publisher.status().ready) return failed(not_ready(brokers, waiter));
  Reader reader(brokers, {options.topic}, waiter);
  const std::uint64_t run = random_id();
  Rates rates(Clock::now());
  Durations latencies;
  const auto take = [&](const Client::Event& event) {
    Mark mark{};
    const std::string_view content = event.content();
    if (content.size() < sizeof mark) return;
    std::memcpy(&mark, content.data(), sizeof mark);
    if (mark.run != run) return;
    latencies.record(std::chrono::nanoseconds{steady_ns() - mark.sent_ns});
    rates.record(1, content.size(), Clock::now());
  };
  while (!reader.subscribed() && !waiter.stopped()) {
    const auto more = reader.take(take);
    if (!more) return print_error(command, more.error());
    if (!*more && !reader.subscribed()) reader.wait(Clock::time_point::max());
  }
  ProgressLine progress(command);
  const auto begun = Clock::now();
  rates = Rates(begun);
  const Pace pace(options.rate, begun);
  const auto end = begun + std::chrono::duration_cast<Clock::duration>(options.time);
  std::string payload(options.size, 'x');
  std::uint64_t sent = 0;
  std::string problem;
  const auto all_sent = [&] { return sent >= options.count || pace.due(sent) >= end || !problem.empty(); };
  auto last_change = begun;
  while (!waiter.stopped() && !(all_sent() && rates.events() >= sent)) {
    if (all_sent() && Clock::now() >= last_change + reply_limit) break;
    // At a rate that cannot be kept, events are read all the same.
    for (std::size_t turn = 0; turn < events_per_turn && !all_sent() && Clock::now() >= pace.due(sent);
         ++turn) {
      const Mark mark{run, steady_ns()};
      std::memcpy(payload.data(), &mark, sizeof mark);
      const Offer offer =
          publisher.offer([&](Publisher& to) { return to.offer_bytes(options.topic, payload); }, reply_limit);
      if (offer != Offer::accepted) {
        problem = offer == Offer::too_large
                      ? fmt::format("cannot publish {} bytes: the broker accepts events of at most {} bytes",
                                    options.size, publisher.event_bytes_max())
                      : "cannot publish: the broker has stopped confirming events";
        break;
      }
      ++sent;
    }
    const std::uint64_t before = rates.events();
    const auto more = reader.take(take);
    if (!more) {
      problem = more.error().text;
      break;
    }
    if (rates.events() != before || !all_sent()) last_change = Clock::now();
    show(progress, rates, options, Clock::now());
    if (*more) {
      (void)waiter.wait({}, Clock::time_point::min());  // for signals
    } else {
      reader.wait(all_sent() ? last_change + reply_limit : pace.due(sent));
    }
  }
  progress.erase();
  (void)publisher.offer([&](Publisher& to) { return to.offer_clear(options.topic); }, reply_limit);
  const std::string unconfirmed = publisher.finish(reply_limit);
  if (problem.empty()) problem = unconfirmed;
  const std::uint64_t missed = waiter.stopped() ? 0 : sent - std::min(sent, rates.events());
  const ExitCode printed = print_report({"latency",
                                         joined(brokers, &BrokerEndpoints::egress),
                                         fmt::format("{} bytes each, on {}", options.size, options.topic),
                                         rates,
                                         "latency",
                                         latencies,
                                         {{"missed", missed}}},
                                        options.json);
  if (!problem.empty()) return failed(problem);
  if (missed > 0) return failed(fmt::format("expected {} events, got {}", sent, rates.events()));
  return printed;
}

// ── the commands ─────────────────────────────────────────────────────────────────────────────────────────

using Bench = std::function<ExitCode(const BenchOptions&, const std::vector<BrokerEndpoints>&, Waiter&)>;

ExitCode run_bench(const std::string& name, const BenchFlags& flags, std::uint64_t size_min,
                   const Bench& bench) {
  const auto options = read_options(flags, size_min);
  if (!options) return print_error(name, options.error());
  const auto brokers = resolve(flags.addresses);
  if (!brokers) return print_error(name, brokers.error());
  Signals signals(
      Signals::Hangup::stop);  // before libzmq starts its threads, because they inherit the signal mask
  Waiter waiter;
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  return bench(*options, *brokers, waiter);
}

void add_size(const Command& command, BenchFlags& flags) {
  command.add_option("--size", flags.size, "Bytes of each payload").value_name("SIZE").show_default();
}

/// The options of all benches, which come last.
void add_common(const Command& command, BenchFlags& flags, const std::string& counted_events) {
  command.add_option("-n,--count", flags.count, "Stop after N events " + counted_events)
      .value_name("N")
      .range(1);
  command.add_option("-t,--time", flags.time, "Stop after this time (default: 10s, or with --count: never)")
      .value_name("DURATION");
  command.add_flag("-j,--json", flags.json, "Print a JSON object");
  add_address_flags(command, flags.addresses);
}

void add_bench_pub(const Command& bench) {
  auto flags = std::make_shared<BenchFlags>();
  flags->topic = "bench.pub";
  const Command command =
      bench.add_command("pub", "Publish, and measure how many events per second the broker admits");
  command.add_option("--topic", flags->topic, "Topic of the events").value_name("TOPIC").show_default();
  command.add_option("--topics", flags->topics, "Publish on TOPIC.0, TOPIC.1, … in turn, if more than 1")
      .value_name("N")
      .range(1, 1'000'000)
      .show_default();
  add_size(command, *flags);
  command.add_option("--rate", flags->rate, "Events per second (default: as many as possible)")
      .value_name("N")
      .range(1);
  add_common(command, *flags, "published");
  command.set_footer(
      "Examples:\n"
      "  backplane bench pub\n"
      "  backplane bench pub --size 1KiB --rate 10000 --time 1m --json");
  command.set_run([flags] {
    return run_bench("bench pub", *flags, 0, [](const auto& options, const auto& brokers, Waiter& waiter) {
      return PubBench(options, brokers, waiter).run();
    });
  });
}

void add_bench_sub(const Command& bench) {
  auto flags = std::make_shared<BenchFlags>();
  const Command command = bench.add_command(
      "sub", "Subscribe, and measure how many events per second arrive, and how old they are");
  command.add_option("PATTERN", flags->pattern, "Topics to subscribe to").value_name("").show_default();
  add_common(command, *flags, "received");
  command.set_footer(
      "Examples:\n"
      "  backplane bench sub --time 30s\n"
      "  backplane bench sub 'stock.>' --json");
  command.set_run([flags] {
    if (const auto pattern = Pattern::parse(flags->pattern); !pattern) {
      return print_error("bench sub", {ErrorCode::invalid_argument, "PATTERN: " + pattern.error().text});
    }
    return run_bench("bench sub", *flags, 0, [&](const auto& options, const auto& brokers, Waiter& waiter) {
      return bench_sub(options, flags->pattern, brokers, waiter);
    });
  });
}

void add_bench_latency(const Command& bench) {
  auto flags = std::make_shared<BenchFlags>();
  flags->topic = "bench.latency";
  flags->rate = 100;
  const Command command = bench.add_command(
      "latency", "Publish and subscribe, and measure the time from one to the other, through the broker");
  command.add_option("--topic", flags->topic, "Topic of the events").value_name("TOPIC").show_default();
  add_size(command, *flags);
  command.add_option("--rate", flags->rate, "Events per second (default: 100)").value_name("N").range(1);
  add_common(command, *flags, "published");
  command.set_footer(
      "Examples:\n"
      "  backplane bench latency\n"
      "  backplane bench latency --rate 1000 --size 1KiB --json");
  command.set_run([flags] { return run_bench("bench latency", *flags, sizeof(Mark), bench_latency); });
}

}  // namespace

void add_bench(const Command& program) {
  const Command command = program.add_command(
      "bench", "Measure rates and latencies of a broker, from here; events are published on bench.>");
  command.require_command();
  command.set_footer(
      "Examples:\n"
      "  backplane bench pub --size 1KiB      how many events per second the broker admits\n"
      "  backplane bench sub                  how many arrive here; in another terminal, run bench pub\n"
      "  backplane bench latency              how long an event takes");
  add_bench_pub(command);
  add_bench_sub(command);
  add_bench_latency(command);
}

}  // namespace backplane::cli
