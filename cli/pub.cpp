// backplane pub TOPIC TEXT: publishes an event.

#include <array>
#include <memory>

#include <fmt/format.h>
#include <google/protobuf/message.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/connection/confirmed_publisher.hpp"
#include "cli/connection/gateway_connection.hpp"
#include "cli/console/messages.hpp"
#include "cli/gateway_client_flags.hpp"
#include "cli/input/json_messages.hpp"
#include "cli/input/payload_flags.hpp"
#include "cli/subcommands.hpp"
#include "core/payload/text.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Waiter::Clock;

constexpr std::chrono::milliseconds reply_limit = 5s;
/// The default limit of a broker. A broker with a lower limit refuses larger events.
constexpr std::size_t payload_bytes_max = 1u << 20;

struct PubFlags {
  std::string topic;
  PayloadFlags payload;
  std::uint64_t count{1};
  std::string every;
  GatewayClientFlags gateway;
  AddressFlags addresses;
};

struct PubOptions {
  std::string topic;
  std::optional<std::string> payload;  ///< without a value, the event clears the retained value
  std::uint64_t count{1};
  std::chrono::nanoseconds every{0};
};

/// Calls `send` as many times, and at the interval, that the options say. Stops when `send` returns false, or
/// the waiter is stopped. @returns whether all calls were made and returned true.
bool repeat(const PubOptions& options, Waiter& waiter, const std::function<bool()>& send) {
  auto next = Clock::now();
  for (std::uint64_t sent = 0; sent < options.count; ++sent) {
    while (Clock::now() < next && waiter.wait({}, next)) {
    }
    // Without an interval there is no wait that would notice a signal.
    if (options.every.count() == 0 && sent % 1000 == 999) (void)waiter.wait({}, Clock::time_point::min());
    if (waiter.stopped() || !send()) return false;
    next += std::chrono::duration_cast<Clock::duration>(options.every);
  }
  return true;
}

/// The message that `json` describes. If the program was not built with the type, it requests it from the
/// broker.
Result<std::unique_ptr<google::protobuf::Message>> make_message(JsonMessages& types,
                                                                const std::string& type_name,
                                                                const std::string& json,
                                                                const std::vector<BrokerEndpoints>& brokers,
                                                                Waiter& waiter) {
  std::string type = types.find(type_name);
  if (type.empty()) {
    mq::Context context;
    const auto reply = BrokerRequests(context, brokers, waiter).types({type_name}, reply_limit);
    if (!reply) return tl::unexpected(reply.error());
    if (auto added = types.add_types(reply->files); !added) return tl::unexpected(added.error());
    type = types.find(type_name);
  }
  if (type.empty()) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("--json: expected a message type that the program or the broker knows, such as Quote or "
                    "backplane.events.v1.Quote, got \"{}\"",
                    type_name));
  }
  return types.make(type, json);
}

/// Why the publisher did not accept an event.
std::string describe(Offer offer, const PubOptions& options, std::uint64_t event_bytes_max) {
  switch (offer) {
    case Offer::too_large:
      return fmt::format("cannot publish {} bytes: the broker accepts events of at most {} bytes",
                         options.payload ? options.payload->size() : 0, event_bytes_max);
    case Offer::bad_topic:
      return fmt::format("TOPIC: cannot publish to \"{}\"", options.topic);
    case Offer::backpressured:
      return "cannot publish: the broker has stopped confirming events";
    case Offer::accepted:
    case Offer::closed:
      break;
  }
  return "cannot publish: the publisher is closed";
}

ExitCode publish_to_broker(const PubOptions& options, const std::string& json_type,
                           const std::vector<BrokerEndpoints>& brokers, Waiter& waiter) {
  JsonMessages types;
  std::unique_ptr<google::protobuf::Message> message;
  if (!json_type.empty()) {
    auto made = make_message(types, json_type, *options.payload, brokers, waiter);
    if (!made) return print_error("pub", made.error());
    message = std::move(*made);
  }
  ConfirmedPublisher publisher("pub", brokers, payload_bytes_max, waiter,
                               [](std::string_view text) { print_message("pub", text); });
  if (const std::string problem = publisher.wait_ready(reply_limit); !problem.empty()) {
    print_message("pub", problem);
    return ExitCode::failed;
  }
  Offer last = Offer::accepted;
  const bool all = repeat(options, waiter, [&] {
    last = publisher.offer(
        [&](Publisher& to) {
          if (message) return to.offer(options.topic, *message);
          return options.payload ? to.offer_text(options.topic, *options.payload)
                                 : to.offer_clear(options.topic);
        },
        reply_limit);
    return last == Offer::accepted;
  });
  const std::uint64_t event_bytes_max = publisher.event_bytes_max();
  const std::string problem = publisher.finish(reply_limit);
  if (!problem.empty()) {
    print_message("pub", problem);
    return ExitCode::failed;
  }
  if (all || waiter.stopped()) return ExitCode::done;
  print_message("pub", describe(last, options, event_bytes_max));
  return last == Offer::bad_topic ? ExitCode::usage : ExitCode::failed;
}

ExitCode publish_to_gateway(const PubOptions& options, const GatewayEndpoint& endpoint, Waiter& waiter) {
  if (!options.payload || !wire::is_utf8(*options.payload)) {
    print_message("pub", fmt::format("--gateway: expected a payload of text, got {}",
                                     options.payload ? "bytes" : "none"));
    return ExitCode::usage;
  }
  std::string line = fmt::format("PUB {} ", options.topic);
  append_escaped(*options.payload, line);
  const std::string& address = endpoint.address;
  auto gateway = GatewayConnection::open(endpoint, waiter, reply_limit);
  if (!gateway) {
    print_message("pub", gateway.error().text);
    return ExitCode::failed;  // also for a wrong token: the command line is right
  }
  Error problem;
  bool in_doubt = false;
  const bool all = repeat(options, waiter, [&] {
    in_doubt = true;
    if (auto sent = gateway->send_line(line); !sent) {
      problem = sent.error();
      return false;
    }
    // Without a broker, the gateway waits for one, and replies with an error in the end.
    const auto until = Clock::now() + reply_limit;
    for (;;) {
      const auto reply = gateway->wait_line(until);
      if (!reply) {
        problem = reply.error();
        return false;
      }
      if (reply->starts_with("+OK PUB")) {
        in_doubt = false;
        return true;
      }
      if (reply->starts_with("!BYE ")) {
        problem = closed_error(address, reply->substr(5));
        return false;
      }
      if (!reply->starts_with("-ERR ")) continue;  // !WAIT, !LIVE
      problem = {ErrorCode::unavailable, fmt::format("the gateway at {} refused the event: {}", address,
                                                     refusal_text(reply->substr(5)))};
      return false;
    }
  });
  if (all || (waiter.stopped() && !in_doubt)) return ExitCode::done;
  print_message("pub", waiter.stopped()
                           ? fmt::format("the gateway at {} has not confirmed the last event", address)
                           : problem.text);
  return ExitCode::failed;
}

Result<PubOptions> read_options(const PubFlags& flags, bool through_gateway) {
  const auto wrong = [](std::string text) { return fail(ErrorCode::invalid_argument, std::move(text)); };
  if (const TopicFault fault = check_topic(flags.topic); fault != TopicFault::none) {
    return wrong("TOPIC: " + backplane::describe(fault, flags.topic));
  }
  if (is_system_topic(flags.topic)) {
    return wrong(
        fmt::format("TOPIC: cannot publish to \"{}\": $SYS topics belong to the system", flags.topic));
  }
  PubOptions options;
  options.topic = flags.topic;
  options.count = flags.count;
  if (!flags.every.empty()) {
    const auto every = parse_duration(flags.every, "--every");
    if (!every) return tl::unexpected(every.error());
    if (*every < 1ms || *every > 24h)
      return wrong(fmt::format("--every: expected 1ms to 24h, got \"{}\"", flags.every));
    options.every = *every;
  }
  if (through_gateway && !flags.payload.json_type.empty())
    return wrong("--json: cannot be combined with --gateway, which accepts text only");
  auto payload = read_payload(flags.payload, payload_bytes_max);
  if (!payload) return tl::unexpected(payload.error());
  options.payload = std::move(*payload);
  return options;
}

ExitCode run_pub(const PubFlags& flags) {
  const auto gateway = resolve_gateway(flags.gateway, flags.addresses, process_environment());
  if (!gateway) return print_error("pub", gateway.error());
  const auto options = read_options(flags, gateway->has_value());
  if (!options) return print_error("pub", options.error());
  const auto brokers = *gateway ? std::vector<BrokerEndpoints>() : resolve(flags.addresses);
  if (!brokers) return print_error("pub", brokers.error());

  Signals signals(Signals::Hangup::stop);  // before other threads start, because they inherit the signal mask
  Waiter waiter;
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  if (*gateway) return publish_to_gateway(*options, **gateway, waiter);
  return publish_to_broker(*options, flags.payload.json_type, *brokers, waiter);
}

}  // namespace

void add_pub(const Command& program) {
  auto flags = std::make_shared<PubFlags>();
  const Command command =
      program.add_command("pub", "Publish an event, and exit when the broker has admitted it");
  command.add_option("TOPIC", flags->topic, "Topic, e.g. news.uk").required().value_name("");
  command
      .add_option("TEXT", flags->payload.text,
                  "Payload, which may be empty; put -- before it if it begins with - and is not a number")
      .value_name("")
      .may_be_empty();
  command
      .add_option("-f,--file", flags->payload.file,
                  "Read the payload from this file: text if it is UTF-8, else bytes")
      .value_name("FILE");
  command.add_flag("--stdin", flags->payload.standard_input,
                   "Read the payload from standard input, up to its end (for one event per line: backplane "
                   "publish lines)");
  command.add_flag("--clear", flags->payload.clear,
                   "Publish no payload, which clears the topic's retained value");
  command
      .add_option("--json", flags->payload.json_type,
                  "Parse the payload as JSON and encode it as a message of this type: Quote, "
                  "backplane.events.v1.Quote, or one that the broker knows")
      .value_name("TYPE");
  command.add_option("-n,--count", flags->count, "Publish N times").value_name("N").range(1).show_default();
  command.add_option("-e,--every", flags->every, "Interval between events (default: none)")
      .value_name("DURATION");
  add_gateway_client_flags(command, flags->gateway,
                           "Publish through this gateway instead of to a broker, text only");
  add_address_flags(command, flags->addresses);
  command.set_footer(
      "Examples:\n"
      "  backplane pub news.uk 'rain until Thursday'\n"
      "  backplane pub stock.MSFT --json Quote '{\"symbol\":\"MSFT\",\"price\":39.81}'\n"
      "  date | backplane pub news.date --stdin --gateway 127.0.0.1:1601\n"
      "  backplane pub sensor.7 21.5 --broker host7 --key me.key --server-key broker.pub\n"
      "  backplane pub sensor.7 21.5 --gateway host7:1601 --ca ca.pem --token-file me.token");
  command.set_run([flags] { return run_pub(*flags); });
}

}  // namespace backplane::cli
