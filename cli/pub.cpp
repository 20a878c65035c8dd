// backplane pub TOPIC TEXT: one event from the command line.

#include <memory>

#include <CLI/CLI.hpp>
#include <backplane/publisher.hpp>
#include <fmt/format.h>

#include "cli/addresses.hpp"
#include "cli/command.hpp"
#include "core/process/host.hpp"
#include "core/topic/topic.hpp"

namespace backplane::cli {
namespace {

constexpr std::chrono::seconds answer_timeout{5};

struct PubOptions {
  std::string topic;
  std::string text;
  AddressFlags addresses;
};

/// Why an event was not taken; empty: it was.
std::string describe(Offer offer, const PubOptions& options, std::size_t bytes_max) {
  switch (offer) {
    case Offer::accepted:
      return "";
    case Offer::too_large:
      return fmt::format("TEXT: wanted at most {} bytes, got {}", bytes_max, options.text.size());
    case Offer::bad_topic:
      return fmt::format("TOPIC: \"{}\" cannot be published to", options.topic);
    case Offer::backpressured:
      return "the event does not fit among those that wait for the broker";
    case Offer::closed:
      break;
  }
  return "the publisher is closed";
}

ExitCode run_pub(const PubOptions& options) {
  if (const TopicFault fault = check_topic(options.topic); fault != TopicFault::none) {
    complain("pub", "TOPIC: " + backplane::describe(fault, options.topic));
    return ExitCode::usage;
  }
  if (is_system_topic(options.topic)) {
    complain("pub",
             fmt::format("TOPIC: \"{}\" is the system's own and cannot be published to", options.topic));
    return ExitCode::usage;
  }
  const auto brokers = resolve(options.addresses);
  if (!brokers) return complain("pub", brokers.error());

  Publisher::Options publisher_options;
  publisher_options.source = "pub@" + host_name();
  publisher_options.brokers.clear();
  std::string endpoints;
  for (const BrokerAddress& broker : *brokers) {
    publisher_options.brokers.push_back({broker.ingress, broker.control});
    endpoints += (endpoints.empty() ? "" : ", ") + broker.ingress;
  }
  const std::size_t bytes_max = publisher_options.max_event_bytes;
  Publisher publisher(std::move(publisher_options));

  const Offer offer = publisher.offer_text(options.topic, options.text);
  if (offer != Offer::accepted) {
    complain("pub", describe(offer, options, bytes_max));
    return ExitCode::usage;
  }
  if (publisher.close(answer_timeout)) return ExitCode::done;
  const PublisherStatus status = publisher.status();
  if (status.refused > 0) {
    complain("pub", fmt::format("the broker at {} refused the event: {}", endpoints, status.last_problem));
  } else {
    complain("pub", fmt::format("no broker at {} confirmed the event within {} s", endpoints,
                                answer_timeout.count()));
  }
  return ExitCode::failed;
}

}  // namespace

Run add_pub(CLI::App& program) {
  auto options = std::make_shared<PubOptions>();
  CLI::App* app =
      program.add_subcommand("pub", "Publish one text event; done when the broker has admitted it");
  app->add_option("TOPIC", options->topic, "The topic, e.g. news.uk")->required()->type_name("");
  app->add_option("TEXT", options->text, "The payload")->required()->type_name("");
  add_addresses(*app, options->addresses);
  app->footer(
      "Example:\n"
      "  backplane pub news.uk 'rain until Thursday'");
  return [options] { return run_pub(*options); };
}

}  // namespace backplane::cli
