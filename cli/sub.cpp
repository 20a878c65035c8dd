// backplane sub PATTERN…: events as lines on standard output.

#include <algorithm>
#include <array>
#include <map>
#include <memory>

#include <backplane/client.hpp>
#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/connection/endpoint_diagnosis.hpp"
#include "cli/connection/stored_events.hpp"
#include "cli/console/messages.hpp"
#include "cli/sub_options.hpp"
#include "cli/subcommands.hpp"
#include "core/net/host_port.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/pattern.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Waiter::Clock;

/// A broker that is there answers in a few ms; after this a person is told.
constexpr Clock::duration patience = 1s;
/// Where history was asked for and nothing has come by then, it is looked whether it can come at all.
constexpr Clock::duration history_patience = 3s;
/// Signals are looked for at least once in so many events.
constexpr std::size_t events_a_turn = 1000;
constexpr std::chrono::milliseconds types_limit = 1s;

struct SubFlags {
  std::vector<std::string> patterns;
  std::optional<std::uint64_t> count;
  std::string timeout;  ///< empty: none
  std::string since;
  std::string every;
  std::string format = "text";
  std::string gateway;
  bool last{};
  bool strict{};
  AddressFlags addresses;
};

Client::Options client_options(const std::vector<BrokerEndpoints>& brokers) {
  Client::Options options;
  options.brokers.clear();
  for (const BrokerEndpoints& broker : brokers) options.brokers.push_back({broker.egress, broker.control});
  options.max_event_bytes = readable_event_bytes_max;
  return options;
}

SubscribeOptions subscribe_options(const SubOptions& options) {
  SubscribeOptions subscribe;
  subscribe.last = options.last;
  subscribe.every = options.every;
  if (const auto* ago = std::get_if<std::chrono::nanoseconds>(&options.since)) {
    subscribe.since_time_ns = unix_now_ns() - ago->count();
  } else if (const auto* offset = std::get_if<std::uint64_t>(&options.since)) {
    subscribe.since_offset = *offset;
  } else if (const auto* token = std::get_if<std::string>(&options.since)) {
    subscribe.since_token = *token;
  }
  return subscribe;
}

/// One reading of a broker, or of the next one where that is gone. Lives on the main thread; owns the client.
class BrokerSub {
 public:
  BrokerSub(const SubOptions& options, std::vector<BrokerEndpoints> brokers, SubPrinter& printer,
            Waiter& waiter)
      : options_(options),
        brokers_(std::move(brokers)),
        printer_(printer),
        waiter_(waiter),
        client_(client_options(brokers_)) {
    client_.subscribe(options.patterns, subscribe_options(options));
  }

  ExitCode run() {
    const std::array fds{client_.fd()};
    while (!ended()) {
      const bool more = take_some();
      if (!more) printer_.output().flush();
      if (ended()) break;
      if (Clock::now() >= complain_at_ && !tell_waiting()) return ExitCode::failed;
      if (Clock::now() >= look_at_control_at_) look_at_control();
      const auto until =
          std::min({options_.deadline, client_.wait_until(), complain_at_, look_at_control_at_});
      (void)waiter_.wait(fds, more ? Clock::time_point::min() : until);
    }
    return printer_.finish();
  }

 private:
  [[nodiscard]] bool ended() const { return waiter_.stopped() || printer_.done() || printer_.late(); }

  /// @returns whether there may be more at once.
  bool take_some() {
    for (std::size_t taken = 0; taken < events_a_turn; ++taken) {
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
    if (!writer.event(event.topic(), event.envelope(), stamp, out)) {
      print_message("sub", fmt::format("an event of {} cannot be read", event.topic()));
      return;
    }
    if (writer.payloads().has_unknown_types() && learn_types()) {
      out.resize(begin);
      (void)writer.event(event.topic(), event.envelope(), stamp, out);
    }
    remember_stream(event.topic(), event.stream());
    look_at_control_at_ = Clock::time_point::max();
    printer_.count_event();
  }

  void handle(const Client::Gap& gap) {
    printer_.writer().gap(gap.topic, gap.stream, gap.first, gap.last, name(gap.reason),
                          printer_.output().buffer());
    remember_stream(gap.topic, gap.stream);
    printer_.count_miss();
  }

  /// Told for each topic that was printed: that is whose numbering begins anew. Before the first one it is
  /// the place to go on from that is not in this stream, for all that was asked for.
  void handle(const Client::Reset& reset) {
    printer_.count_miss();
    if (streams_.empty() && !std::holds_alternative<std::monostate>(options_.since)) {
      for (const std::string& pattern : options_.patterns) {
        printer_.writer().reset(pattern, reset.new_stream, printer_.output().buffer());
      }
    }
    for (auto& [topic, stream] : streams_) {
      if (stream != reset.old_stream) continue;
      stream = reset.new_stream;
      printer_.writer().reset(topic, stream, printer_.output().buffer());
    }
  }

  void handle(const Client::Subscribed&) {
    complain_at_ = Clock::time_point::max();
    const bool wants_history = options_.last || !std::holds_alternative<std::monostate>(options_.since);
    if (wants_history) look_at_control_at_ = Clock::now() + history_patience;
  }

  void handle(const Client::Refused& refused) {
    printer_.output().flush();
    print_message("sub", refused.text);
    printer_.count_miss();
  }

  void handle(const Client::Broker& broker) {
    complain_at_ = broker.up ? Clock::time_point::max() : Clock::now() + patience;
    if (broker.up && std::exchange(told_, false)) {
      printer_.output().flush();
      print_message("sub", fmt::format("the broker at {} is there", brokers_[broker.index].egress));
    }
    was_there_ = was_there_ || broker.up;
  }

  void remember_stream(std::string_view topic, std::uint64_t stream) {
    if (const auto known = streams_.find(topic); known != streams_.end()) {
      known->second = stream;
    } else {
      streams_.emplace(topic, stream);
    }
  }

  /// There has been no broker for a while. @returns false where there never will be one.
  bool tell_waiting() {
    complain_at_ = Clock::time_point::max();
    std::vector<std::string> endpoints;
    for (const BrokerEndpoints& broker : brokers_) endpoints.push_back(broker.egress);
    const Diagnosis why = diagnose(brokers_[client_.status().broker].egress, waiter_);
    told_ = true;
    const bool hopeless =
        why.found == Diagnosis::Found::other_protocol && !was_there_ && brokers_.size() == 1;
    print_message("sub", fmt::format("no broker answers at {}: {}{}", fmt::join(endpoints, ", "), why.text,
                                     hopeless ? "" : "; waiting for one"));
    return !hopeless;
  }

  /// What was asked for before the live events comes from the broker's control endpoint, which is another.
  void look_at_control() {
    look_at_control_at_ = Clock::time_point::max();
    const std::string& control = brokers_[client_.status().broker].control;
    const Diagnosis why = diagnose(control, waiter_);
    if (why.found == Diagnosis::Found::zeromq) return;
    print_message("sub",
                  fmt::format("history waits for the broker's control endpoint {}: {}", control, why.text));
  }

  /// Asks what types are that the program was not built with. @returns whether any is known now.
  bool learn_types() {
    const auto unknown = printer_.writer().payloads().take_unknown_types();
    if (!requests_) requests_.emplace(context_, brokers_, waiter_);
    const auto types = requests_->types(unknown, types_limit);
    return types &&
           printer_.writer().payloads().add_types(types->files).refusal == TypeRegistry::Refusal::none;
  }

  const SubOptions& options_;
  std::vector<BrokerEndpoints> brokers_;
  SubPrinter& printer_;
  Waiter& waiter_;
  std::map<std::string, std::uint64_t, std::less<>> streams_;  // of each topic printed
  Clock::time_point complain_at_ = Clock::now() + patience;
  Clock::time_point look_at_control_at_ = Clock::time_point::max();
  bool told_{};  // that there is no broker
  bool was_there_{};
  mq::Context context_;
  std::optional<BrokerRequests> requests_;
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
  if (flags.count == std::uint64_t{0}) return wrong("--count: wanted 1 or more, got 0");
  if (flags.count) options.count = *flags.count;
  const auto format = parse_output_format(flags.format);
  if (!format) {
    return wrong(
        fmt::format("--format: wanted text, text+offset, json, proto or value, got \"{}\"", flags.format));
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
      return wrong(fmt::format("--every: wanted 1ms to 24h, got \"{}\"", flags.every));
    options.every = std::chrono::ceil<std::chrono::milliseconds>(*every);
  }
  options.last = flags.last;
  options.strict = flags.strict;
  if (flags.since.empty()) return options;
  if (flags.last) return wrong("--since: wanted without --last, as the last values are not what came since");
  auto since = parse_since(flags.since);
  if (!since) return tl::unexpected(since.error());
  const bool one_topic = flags.patterns.size() == 1 && Pattern::parse(flags.patterns.front())->is_exact();
  if (std::holds_alternative<std::uint64_t>(*since) && !one_topic) {
    return wrong(
        "--since: an offset goes with one topic, as each has its own; wanted a duration or a resume token");
  }
  options.since = std::move(*since);
  return options;
}

ExitCode run_sub(const SubFlags& flags) {
  const auto options = read_options(flags);
  if (!options) return print_error("sub", options.error());
  if (!flags.gateway.empty() && flags.addresses.given()) {
    return print_error("sub",
                       Error{ErrorCode::invalid_argument, "--gateway: wanted without a broker's addresses"});
  }
  if (!flags.gateway.empty()) {
    if (const auto place = parse_host_port(flags.gateway, "--gateway"); !place) {
      return print_error("sub", place.error());
    }
  }
  auto brokers = resolve(flags.addresses);
  if (!brokers) return print_error("sub", brokers.error());

  Signals signals;  // before libzmq's threads, so that they inherit the mask
  Waiter waiter;
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  SubPrinter printer(*options, waiter);
  if (!flags.gateway.empty()) return sub_through_gateway(*options, flags.gateway, printer, waiter);
  return BrokerSub(*options, std::move(*brokers), printer, waiter).run();
}

}  // namespace

void add_sub(const Command& program) {
  auto flags = std::make_shared<SubFlags>();
  const Command command = program.add_command("sub", "Print the events of some topics, a line each");
  command.add_option("PATTERN", flags->patterns, "Topics; * stands for one token, a final > for one or more")
      .required()
      .value_name("");
  command.add_flag("--last", flags->last, "First the last value of each topic");
  command
      .add_option(
          "--since", flags->since,
          "First what came before: in so much time (10m), after an offset of one topic (17), or where "
          "a resume token says")
      .value_name("10m|OFFSET|TOKEN");
  command
      .add_option("--every", flags->every, "Of each topic the latest event only, at most once in this time")
      .value_name("DURATION");
  command.add_option("--count", flags->count, "End after this many events").value_name("N");
  command
      .add_option("--timeout", flags->timeout, "End after this time; with --count an error if it comes first")
      .value_name("DURATION");
  command
      .add_option(
          "--format", flags->format,
          "text, text+offset, json, proto (ServerMessages, each behind its length) or value (payloads alone)")
      .value_name("FORMAT")
      .show_default();
  command.add_flag("--strict", flags->strict, "End with code 3 where events were missed (!GAP, !RESET)");
  command.add_option("--gateway", flags->gateway, "Read from a gateway instead of a broker")
      .value_name("HOST:PORT");
  add_address_flags(command, flags->addresses);
  command.set_footer(
      "Example:\n"
      "  backplane sub 'stock.>' clock --count 10 --format json\n"
      "  backplane sub 'temperature.>' --last --every 5s\n"
      "  backplane sub clock --since 10m --gateway 127.0.0.1:1601");
  command.set_run([flags] { return run_sub(*flags); });
}

}  // namespace backplane::cli
