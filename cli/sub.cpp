// backplane sub PATTERN…: prints events, one per line.

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>

#include <backplane/client.hpp>
#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/client_options.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/connection/endpoint_diagnosis.hpp"
#include "cli/console/messages.hpp"
#include "cli/gateway_client_flags.hpp"
#include "cli/sub_options.hpp"
#include "cli/subcommands.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/pattern.hpp"
#include "core/wire/stamp.hpp"
#include "follower/control/type_fetcher.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Waiter::Clock;

/// A running broker replies within a few ms. After this time, the missing broker is reported; if nothing
/// listens there, after refusal_patience.
constexpr Clock::duration connect_patience = 1s;
/// If no history has arrived after this time, the control endpoint is checked.
constexpr Clock::duration history_patience = 3s;
/// Signals are checked at least once per so many events.
constexpr std::size_t events_per_turn = 1000;
constexpr std::chrono::milliseconds types_limit = 1s;

struct SubFlags {
  std::vector<std::string> patterns;
  std::optional<std::uint64_t> count;
  std::string timeout;  ///< empty if not given
  std::string since;
  std::string every;
  std::string format = "text";
  GatewayClientFlags gateway;
  bool last{};
  bool strict{};
  AddressFlags addresses;
};

SubscribeOptions subscribe_options(const SubOptions& options) {
  SubscribeOptions subscribe;
  subscribe.last = options.last;
  subscribe.every = options.every;
  if (const auto* ago = std::get_if<std::chrono::nanoseconds>(&options.since)) {
    subscribe.since_ago = *ago;
  } else if (const auto* offset = std::get_if<AfterOffset>(&options.since)) {
    subscribe.since_offset = offset->offset;
  } else if (const auto* after = std::get_if<AfterPositions>(&options.since)) {
    subscribe.since_token = resume_token(after->positions);
  }
  return subscribe;
}

/// Reads from every broker of the list at once. Lives on the main thread; owns the client.
class BrokerSub {
 public:
  BrokerSub(const SubOptions& options, std::vector<BrokerEndpoints> brokers, SubPrinter& printer,
            Waiter& waiter)
      : options_(options),
        brokers_(std::move(brokers)),
        printer_(printer),
        waiter_(waiter),
        client_(client_options("sub", brokers_)) {
    client_.subscribe(options.patterns, subscribe_options(options));
  }

  ExitCode run() {
    const std::array fds{client_.fd()};
    while (!ended()) {
      const bool more = take_items();
      if (!more) printer_.output().flush();
      if (ended()) break;
      if (Clock::now() >= refusal_check_at_) check_refusal();
      if (Clock::now() >= report_no_broker_at_ && !report_no_broker()) return ExitCode::failed;
      if (Clock::now() >= check_control_at_) check_control();
      const auto until = std::min({options_.deadline, client_.wait_until(), report_no_broker_at_,
                                   check_control_at_, refusal_check_at_});
      (void)waiter_.wait(fds, more ? Clock::time_point::min() : until);
    }
    return printer_.finish(!was_connected_ && printer_.timed_out() ? never_connected() : "");
  }

 private:
  [[nodiscard]] bool ended() const { return waiter_.stopped() || printer_.done() || printer_.timed_out(); }

  /// @returns whether more items may be available at once.
  bool take_items() {
    for (std::size_t taken = 0; taken < events_per_turn; ++taken) {
      const Client::Item* const item = client_.next(0ms);
      if (item == nullptr) return false;
      std::visit([this](const auto& each) { handle(each); }, *item);
      if (printer_.done()) return false;
    }
    return true;
  }

  void handle(const Client::Event& event) {
    const wire::Stamp stamp{.stream = event.stream(),
                            .position = event.position(),
                            .offset = event.offset(),
                            .received_ns = event.received_ns()};
    std::string& out = printer_.output().buffer();
    const std::size_t begin = out.size();
    EventWriter& writer = printer_.writer();
    if (!writer.event(event.topic(), event.envelope(), stamp, out, event.late())) {
      print_message("sub", fmt::format("cannot decode an event of {}", event.topic()));
      return;
    }
    if (types_.turn(Clock::now())) {
      out.resize(begin);
      (void)writer.event(event.topic(), event.envelope(), stamp, out, event.late());
    }
    printer_.paint_event(begin, event.topic());
    remember(event.topic(), event.stream());
    check_control_at_ = Clock::time_point::max();
    printer_.count_event();
  }

  void handle(const Client::Gap& gap) {
    const std::size_t begin = printer_.output().buffer().size();
    printer_.writer().gap(gap.topic, gap.stream, gap.first, gap.last, name(gap.reason),
                          printer_.output().buffer());
    printer_.paint_notice(begin);
    remember(gap.topic, gap.stream);
    printer_.count_miss();
  }

  /// Prints one !RESET for each topic of the old stream that was printed, because its numbering starts again.
  /// If nothing was printed yet, the position of --since is not in this stream: one !RESET for each pattern.
  void handle(const Client::Reset& reset) {
    printer_.count_miss();
    if (printed_.empty() && !std::holds_alternative<std::monostate>(options_.since)) {
      for (const std::string& pattern : options_.patterns) {
        append_reset(pattern, reset.new_stream);
      }
    }
    auto old = printed_.extract(reset.old_stream);
    if (old.empty()) return;
    for (const std::string& topic : old.mapped()) {
      append_reset(topic, reset.new_stream);
    }
    printed_[reset.new_stream].merge(old.mapped());
  }

  void append_reset(const std::string& topic, std::uint64_t stream) {
    const std::size_t begin = printer_.output().buffer().size();
    printer_.writer().reset(topic, stream, printer_.output().buffer());
    printer_.paint_notice(begin);
  }

  void handle(const Client::Subscribed&) {
    report_no_broker_at_ = Clock::time_point::max();
    const bool history_requested = options_.last || !std::holds_alternative<std::monostate>(options_.since);
    if (history_requested) check_control_at_ = Clock::now() + history_patience;
  }

  void handle(const Client::Refused& refused) {
    printer_.output().flush();
    print_message("sub", refused.text);
    printer_.count_miss();
  }

  void handle(const Client::Broker& broker) {
    if (!broker.key_problem.empty()) return report_key_problem(broker.key_problem);
    report_no_broker_at_ = broker.up ? Clock::time_point::max() : Clock::now() + connect_patience;
    if (broker.up && std::exchange(reported_, false)) {
      printer_.output().flush();
      print_message("sub", fmt::format("connected to the broker at {}", brokers_[broker.index].egress));
    }
    was_connected_ = was_connected_ || broker.up;
    if (broker.up) key_problem_.clear();
  }

  /// The client keeps trying, because a policy can change. That is not reported again.
  void report_key_problem(const std::string& problem) {
    key_problem_ = problem;
    report_no_broker_at_ = Clock::time_point::max();
    reported_ = true;
    printer_.output().flush();
    print_message("sub", "waiting for a broker: " + problem);
  }

  void remember(std::string_view topic, std::uint64_t stream) {
    Topics& topics = printed_[stream];
    if (!topics.contains(topic)) topics.emplace(topic);
  }

  /// Diagnoses every broker. The text begins with `verb`.
  std::string no_broker_text(std::string_view verb) {
    std::vector<std::string> endpoints;
    diagnoses_.clear();
    for (const BrokerEndpoints& broker : brokers_) {
      endpoints.push_back(broker.egress);
      diagnoses_.push_back(diagnose(broker.egress, waiter_));
    }
    return fmt::format("{} a broker {}", verb, found_text(endpoints, diagnoses_));
  }

  /// Why --timeout was reached without a connection.
  std::string never_connected() {
    if (!key_problem_.empty()) return fmt::format("cannot reach a broker: {}", key_problem_);
    std::string text = no_broker_text("cannot reach");
    const bool may_be_one = std::any_of(diagnoses_.begin(), diagnoses_.end(), [](const Diagnosis& each) {
      return each.found == Diagnosis::Found::zeromq;
    });
    return may_be_one ? fmt::format("no connection to a broker within {}", options_.timeout_text) : text;
  }

  /// Reports at once that nothing listens, which needs no patience.
  void check_refusal() {
    refusal_check_at_ = Clock::time_point::max();
    if (was_connected_) return;
    const std::string text = no_broker_text("waiting for");
    const bool nobody = std::all_of(diagnoses_.begin(), diagnoses_.end(), [](const Diagnosis& each) {
      return each.found == Diagnosis::Found::unreachable;
    });
    if (!nobody) return;
    report_no_broker_at_ = Clock::time_point::max();
    reported_ = true;
    print_message("sub", text);
  }

  /// Reports why there is no broker. @returns false if waiting for one is pointless.
  bool report_no_broker() {
    report_no_broker_at_ = Clock::time_point::max();
    const std::string waiting = no_broker_text("waiting for");
    reported_ = true;
    const bool hopeless = diagnoses_.front().found == Diagnosis::Found::other_protocol && !was_connected_ &&
                          brokers_.size() == 1;
    print_message("sub", hopeless ? no_broker_text("cannot reach") : waiting);
    return !hopeless;
  }

  /// History comes from the broker's control endpoint. If that cannot be a broker's, says so.
  void check_control() {
    check_control_at_ = Clock::time_point::max();
    const std::string& control = brokers_[client_.status().broker].control;
    const Diagnosis diagnosis = diagnose(control, waiter_);
    if (diagnosis.found == Diagnosis::Found::zeromq) return;
    print_message(
        "sub", fmt::format("waiting for history from the control endpoint {}: {}", control, diagnosis.text));
  }

  const SubOptions& options_;
  std::vector<BrokerEndpoints> brokers_;
  SubPrinter& printer_;
  Waiter& waiter_;
  using Topics = std::set<std::string, std::less<>>;
  std::map<std::uint64_t, Topics> printed_;  // by stream: brokers of a list may have the same topics
  Clock::time_point report_no_broker_at_ = Clock::now() + connect_patience;
  Clock::time_point refusal_check_at_ = Clock::now() + refusal_patience;
  Clock::time_point check_control_at_ = Clock::time_point::max();
  std::vector<Diagnosis> diagnoses_;  // of the brokers, when they were last looked at
  bool reported_{};                   // that there is no broker
  bool was_connected_{};
  std::string key_problem_;  // that was reported last, since a broker was connected
  mq::Context context_;
  std::optional<BrokerRequests> requests_;
  /// Of the types that the program was not built with.
  TypeFetcher types_{printer_.writer().payloads(),
                     [this](const std::vector<std::string>& names, const TypeFetcher::Handler& handler) {
                       if (!requests_) requests_.emplace(context_, brokers_, waiter_);
                       handler(requests_->types(names, types_limit));
                     }};
  Client client_;
};

tl::unexpected<Error> wrong(std::string text) {
  return fail(ErrorCode::invalid_argument, std::move(text));
}

Result<SubOptions> read_options(const SubFlags& flags) {
  SubOptions options;
  for (const std::string& text : flags.patterns) {
    if (auto pattern = Pattern::parse(text); !pattern) return wrong("PATTERN: " + pattern.error().text);
  }
  options.patterns = flags.patterns;
  if (flags.count) options.count = *flags.count;
  const auto format = parse_output_format(flags.format);
  if (!format) {
    return wrong(
        fmt::format("--format: expected text, text+offset, json, proto or value, got \"{}\"", flags.format));
  }
  options.format = *format;
  if (!flags.timeout.empty()) {
    const auto timeout = parse_duration(flags.timeout, "--timeout");
    if (!timeout) return tl::unexpected(timeout.error());
    options.timeout_text = flags.timeout;
    if (*timeout < 365 * 24h) options.deadline = Clock::now() + *timeout;
  }
  if (!flags.every.empty()) {
    const auto every = parse_duration(flags.every, "--every");
    if (!every) return tl::unexpected(every.error());
    if (*every < 1ms || *every > 24h)
      return wrong(fmt::format("--every: expected 1ms to 24h, got \"{}\"", flags.every));
    options.every = std::chrono::ceil<std::chrono::milliseconds>(*every);
  }
  options.last = flags.last;
  options.strict = flags.strict;
  if (flags.since.empty()) return options;
  if (flags.last) return wrong("--since: cannot be combined with --last");
  auto since = since_option(flags.since);
  if (!since) return tl::unexpected(since.error());
  const bool one_topic = flags.patterns.size() == 1 && Pattern::parse(flags.patterns.front())->is_exact();
  if (std::holds_alternative<AfterOffset>(*since) && !one_topic) {
    return wrong("--since: expected a duration or a resume token for several topics, got an offset");
  }
  options.since = std::move(*since);
  return options;
}

ExitCode run_sub(const SubFlags& flags) {
  const auto options = read_options(flags);
  if (!options) return print_error("sub", options.error());
  const auto gateway = resolve_gateway(flags.gateway, flags.addresses, process_environment());
  if (!gateway) return print_error("sub", gateway.error());
  auto brokers = *gateway ? std::vector<BrokerEndpoints>() : resolve(flags.addresses);
  if (!brokers) return print_error("sub", brokers.error());

  Signals signals(
      Signals::Hangup::stop);  // before libzmq starts its threads, because they inherit the signal mask
  Waiter waiter;
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  SubPrinter printer(*options, waiter);
  if (*gateway) return sub_through_gateway(*options, **gateway, printer, waiter);
  return BrokerSub(*options, std::move(*brokers), printer, waiter).run();
}

}  // namespace

void add_sub(const Command& program) {
  auto flags = std::make_shared<SubFlags>();
  const Command command = program.add_command("sub", "Print events, one per line");
  command
      .add_option("PATTERN", flags->patterns,
                  "Topics to print; * matches one token, > at the end one or more")
      .required()
      .value_name("");
  command.add_flag("-l,--last", flags->last, "Begin with the retained value of each topic");
  command
      .add_option("-s,--since", flags->since,
                  "Begin with history: of this period (10m), after an offset of one topic (17), or after a "
                  "resume token")
      .value_name("10m|OFFSET|TOKEN");
  command.add_option("-e,--every", flags->every, "Print at most one event per topic and interval, the latest")
      .value_name("DURATION");
  command.add_option("-n,--count", flags->count, "Exit after N events").value_name("N").range(1);
  command
      .add_option("-t,--timeout", flags->timeout,
                  "Exit after this time; with --count, reaching it first is an error (exit code 1)")
      .value_name("DURATION");
  command
      .add_option("-f,--format", flags->format,
                  "text, text+offset, json, proto (ServerMessages, each preceded by its length) or value "
                  "(the payload alone)")
      .value_name("FORMAT")
      .show_default();
  command.add_flag("--strict", flags->strict, "Exit with code 3 if events were missed (!GAP, !RESET)");
  add_gateway_client_flags(command, flags->gateway, "Read from this gateway instead of from a broker");
  add_address_flags(command, flags->addresses);
  command.set_footer(
      "Examples:\n"
      "  backplane sub 'stock.>' clock -n 10 -f json\n"
      "  backplane sub 'temperature.>' --last --every 5s\n"
      "  backplane sub clock --since 10m --gateway 127.0.0.1:1601\n"
      "  backplane sub 'sensor.>' --broker host7 --key me.key --server-key broker.pub\n"
      "  backplane sub 'sensor.>' --gateway host7:1601 --ca ca.pem --token-file me.token");
  command.set_run([flags] { return run_sub(*flags); });
}

}  // namespace backplane::cli
