// backplane get TOPIC: prints the retained value of a topic.

#include <memory>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/connection/stored_events.hpp"
#include "cli/connection/waiter.hpp"
#include "cli/console/event_writer.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/subcommands.hpp"
#include "core/topic/pattern.hpp"
#include "follower/control/type_fetcher.hpp"

namespace backplane::cli {
namespace {

constexpr std::chrono::seconds reply_limit{5};

struct GetOptions {
  std::string topic;
  std::string format;  ///< empty: not given
  AddressFlags addresses;
};

/// Appends the values to `out`. @returns whether all of them could be decoded.
bool write_values(const std::vector<StoredEvent>& values, EventWriter& writer, std::string& out) {
  bool good = true;
  for (const StoredEvent& value : values) {
    if (writer.event(value.topic, value.bytes(), value.stamp, out)) continue;
    print_message("get", fmt::format("cannot decode the value of {}", value.topic));
    good = false;
  }
  return good;
}

ExitCode run_get(const GetOptions& options) {
  const auto pattern = Pattern::parse(options.topic);
  if (!pattern) {
    print_message("get", "TOPIC: " + pattern.error().text);
    return ExitCode::usage;
  }
  const std::string name = !options.format.empty() ? options.format : pattern->is_exact() ? "value" : "text";
  const auto format = parse_output_format(name);
  if (!format) {
    print_message(
        "get", fmt::format("--format: expected value, text, text+offset, json or proto, got \"{}\"", name));
    return ExitCode::usage;
  }
  const auto brokers = resolve(options.addresses);
  if (!brokers) return print_error("get", brokers.error());

  Waiter waiter;
  mq::Context context;
  StoredEvents stored(context, *brokers, waiter);
  const auto values = stored.last_values({options.topic}, reply_limit);
  if (!values) return print_error("get", values.error());
  if (values->empty()) {
    print_message("get", fmt::format("\"{}\" has no retained value", options.topic));
    return ExitCode::failed;
  }
  EventWriter writer(*format);
  Output output;
  bool good = write_values(*values, writer, output.buffer());
  // A publisher may have registered these types with the broker. If not, the payload is printed as base64.
  TypeFetcher types(writer.payloads(),
                    [&](const std::vector<std::string>& names, const TypeFetcher::Handler& handler) {
                      handler(BrokerRequests(context, *brokers, waiter).types(names, reply_limit));
                    });
  if (types.turn(TypeFetcher::Clock::now())) {
    output.buffer().clear();
    good = write_values(*values, writer, output.buffer());
  }
  output.flush();
  if (!output.problem().empty()) print_message("get", output.problem());
  return good && output.problem().empty() ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_get(const Command& program) {
  auto options = std::make_shared<GetOptions>();
  const Command command =
      program.add_command("get", "Print the retained value of a topic (exit code 1 if there is none)");
  command.add_option("TOPIC", options->topic, "Topic, or a pattern for several topics")
      .required()
      .value_name("");
  command
      .add_option(
          "-f,--format", options->format,
          "value (the payload alone; default for one topic), text (default for a pattern), text+offset, "
          "json or proto")
      .value_name("FORMAT");
  add_address_flags(command, options->addresses);
  command.set_footer(
      "Examples:\n"
      "  backplane get clock\n"
      "  backplane get 'stock.>' --format json\n"
      "  backplane get sensor.7 --broker host7 --key me.key --server-key broker.pub");
  command.set_run([options] { return run_get(*options); });
}

}  // namespace backplane::cli
