#include "links/config.hpp"

#include <fmt/format.h>

#include "core/metrics/listener.hpp"
#include "core/net/broker_address.hpp"
#include "core/topic/pattern.hpp"
#include "core/topic/topic.hpp"
#include "core/zmq/socket.hpp"
#include "follower/control/since.hpp"

namespace backplane::links {
namespace {

using namespace std::chrono_literals;

tl::unexpected<Error> wrong(std::string text) {
  return fail(ErrorCode::invalid_argument, std::move(text));
}

Result<void> check_host(std::string_view value, std::string_view where) {
  const auto broker = parse_broker_address(value, where);
  if (!broker) return tl::unexpected(broker.error());
  return {};
}

Result<void> check_endpoint(std::string_view value, std::string_view where) {
  if (value.empty()) return {};
  return mq::check_endpoint(value, where);
}

Result<void> check_link_pattern(std::string_view value, std::string_view where) {
  const auto pattern = Pattern::parse(value);
  if (!pattern) return wrong(fmt::format("{}: {}", where, pattern.error().text));
  if (value.starts_with(system_prefix) || value == "$SYS") {
    return wrong(fmt::format("{}: expected topics outside $SYS., got \"{}\"", where, value));
  }
  return {};
}

Result<void> check_under(std::string_view value, std::string_view where) {
  if (value.empty()) return {};
  if (const TopicFault fault = check_topic(value); fault != TopicFault::none)
    return wrong(fmt::format("{}: {}", where, describe(fault, value)));
  if (is_system_topic(value))
    return wrong(fmt::format("{}: expected a topic outside $SYS., got \"{}\"", where, value));
  return {};
}

// The name is also that of the state file, and a part of the topic $SYS.source.<name>.
Result<void> check_name(std::string_view value, std::string_view where) {
  constexpr std::size_t name_bytes_max = 128;
  if (value.empty()) return {};
  if (const TopicFault fault = check_topic(value); fault != TopicFault::none)
    return wrong(fmt::format("{}: {}", where, describe(fault, value)));
  if (value.size() > name_bytes_max || value.find('/') != std::string_view::npos || is_system_topic(value)) {
    return wrong(
        fmt::format("{}: expected a topic of at most {} bytes without \"/\", outside $SYS., got \"{}\"",
                    where, name_bytes_max, value));
  }
  return {};
}

Result<void> check_since(std::string_view value, std::string_view where) {
  if (value.empty()) return {};
  const auto since = parse_since(value);
  if (!since) return wrong(fmt::format("{}: {}", where, since.error().text));
  if (!std::holds_alternative<std::chrono::nanoseconds>(*since))
    return wrong(fmt::format("{}: expected a duration such as 10m, got \"{}\"", where, value));
  return {};
}

Result<void> check_metrics(std::string_view value, std::string_view where) {
  if (value == "off") return {};
  return metrics::check_address(value, where);
}

}  // namespace

void describe(config::Section& section, LinkConfig& link) {
  section.one_or_more("from", link.from,
                      "Hosts of the brokers whose events are passed on, with the default ports.", check_host);
  section.one_or_more("to", link.to,
                      "Hosts of the brokers at which they are published: the first that works.", check_host);
  section.field("from_control", link.from_control,
                "Endpoint for requests of a single broker in `from`. \"\": port 5572.", check_endpoint);
  section.field("to_ingress", link.to_ingress,
                "Endpoint for publishers of a single broker in `to`. \"\": port 5570.", check_endpoint);
  section.field("to_control", link.to_control,
                "Endpoint for requests of a single broker in `to`. \"\": port 5572.", check_endpoint);
  section.one_or_more("patterns", link.patterns, "The topics that are passed on, as patterns.",
                      check_link_pattern);
  section.field("under", link.under,
                "A topic: events are published on UNDER.<original topic>. \"\": on the original topic.",
                check_under);
  section.field(
      "name", link.name,
      "Name of this link towards the brokers. \"\": link- and digits made of `patterns`, `under` and "
      "the key.",
      check_name);
  section.field("state", link.state,
                "Folder for what the link remembers: how far the target has confirmed. \"\": none.");
  section.field("since", link.since,
                "Where a link that has passed nothing on yet begins, such as 10m ago. \"\": with everything "
                "that history has.",
                check_since);
  section.field("hops", link.hops, 1, 64,
                "Links that an event may pass. 1: only events that were published at `from` itself.");
  section.field("poll", link.poll, 1ms, 1h, "Longest interval between two requests to an idle source.");
  section.field("from_key", link.from_key, "File with the key for `from`. \"\": `key`.");
  section.field("from_server_key", link.from_server_key,
                "File with the public key of the brokers in `from`. \"\": `server_key`.");
  section.field("to_key", link.to_key, "File with the key for `to`. \"\": `key`.");
  section.field("to_server_key", link.to_server_key,
                "File with the public key of the brokers in `to`. \"\": `server_key`.");
  section.field("metrics", link.metrics,
                "Address (HOST:PORT) for /metrics, /healthz and /readyz, such as 127.0.0.1:9572, or \"off\".",
                check_metrics);
}

}  // namespace backplane::links
