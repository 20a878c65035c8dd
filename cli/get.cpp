// backplane get TOPIC: the last value that a broker keeps of a topic.

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

namespace backplane::cli {
namespace {

constexpr std::chrono::seconds reply_limit{5};

struct GetOptions {
  std::string topic;
  std::string format;  ///< empty: not given
  AddressFlags addresses;
};

/// Writes the values, with the types that the broker knows where the program was not built with them.
bool write_values(const std::vector<StoredEvent>& values, EventWriter& writer, std::string& out) {
  bool good = true;
  for (const StoredEvent& value : values) {
    if (writer.event(value.topic, value.bytes(), value.stamp, out)) continue;
    print_message("get", fmt::format("the value of {} cannot be read", value.topic));
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
  const std::string wanted = !options.format.empty() ? options.format
                             : pattern->is_exact()   ? "value"
                                                     : "text";
  const auto format = parse_output_format(wanted);
  if (!format) {
    print_message(
        "get", fmt::format("--format: wanted value, text, text+offset, json or proto, got \"{}\"", wanted));
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
  if (const auto unknown = writer.payloads().take_unknown_types(); !unknown.empty()) {
    // Whoever published them may have told the broker what they look like; if not, base64 is what there is.
    const auto types = BrokerRequests(context, *brokers, waiter).types(unknown, reply_limit);
    if (types && writer.payloads().add_types(types->files).refusal == TypeRegistry::Refusal::none) {
      output.buffer().clear();
      good = write_values(*values, writer, output.buffer());
    }
  }
  output.flush();
  if (!output.problem().empty()) print_message("get", output.problem());
  return good && output.problem().empty() ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_get(const Command& program) {
  auto options = std::make_shared<GetOptions>();
  const Command command =
      program.add_command("get", "Print the retained value of a topic; code 1 where there is none");
  command.add_option("TOPIC", options->topic, "The topic, or a pattern for several")
      .required()
      .value_name("");
  command
      .add_option("--format", options->format,
                  "value (the payload alone, for one topic the default), text, text+offset, json or proto")
      .value_name("FORMAT");
  add_address_flags(command, options->addresses);
  command.set_footer(
      "Example:\n"
      "  backplane get clock\n"
      "  backplane get 'stock.>' --format json");
  command.set_run([options] { return run_get(*options); });
}

}  // namespace backplane::cli
