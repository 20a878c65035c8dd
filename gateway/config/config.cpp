#include "gateway/config/config.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "core/config/section.hpp"
#include "core/metrics/listener.hpp"
#include "core/net/host_port.hpp"
#include "core/topic/pattern.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;

Result<void> check_listen(std::string_view value, std::string_view where) {
  if (auto parsed = parse_host_port(value, where); !parsed) return tl::unexpected(parsed.error());
  return {};
}

Result<void> check_metrics(std::string_view value, std::string_view where) {
  if (value == "off") return {};
  return metrics::check_address(value, where);
}

Result<void> check_pattern_text(std::string_view value, std::string_view where) {
  if (auto pattern = Pattern::parse(value); !pattern) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {}", where, pattern.error().text));
  }
  return {};
}

/// As an endpoint has it: IPv6 in brackets.
std::string endpoint_of(std::string_view host, int port) {
  const bool bare_ipv6 = std::count(host.begin(), host.end(), ':') >= 2 && !host.starts_with('[');
  return bare_ipv6 ? fmt::format("tcp://[{}]:{}", host, port) : fmt::format("tcp://{}:{}", host, port);
}

Result<void> check_host(std::string_view value, std::string_view where) {
  const bool has_port = std::count(value.begin(), value.end(), ':') == 1;
  if (value.empty() || has_port || !mq::check_endpoint(endpoint_of(value, 5570), where)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: wanted a host without a port, got \"{}\"", where, value));
  }
  return {};
}

void describe_backplane(config::Section& section, BackplaneConfig& backplane) {
  section.field("listen", backplane.listen, "Where clients connect, each HOST:PORT; port 0 picks a free one.",
                check_listen);
  section.field("brokers", backplane.brokers,
                "The brokers' hosts, with the default ports: the first that is there is followed. None: the "
                "three endpoints below.",
                check_host);
  section.field("ingress", backplane.ingress, "The broker's endpoint for publishers.", mq::check_endpoint);
  section.field("egress", backplane.egress, "The broker's endpoint for subscribers.", mq::check_endpoint);
  section.field("control", backplane.control, "The broker's endpoint for questions.", mq::check_endpoint);
}

Result<void> check_host_name(std::string_view value, std::string_view where) {
  const bool ipv6 = value.starts_with('[') && value.ends_with(']');
  if (!value.empty() && (ipv6 || value.find_first_of(":/ ") == std::string_view::npos)) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: wanted a host as browsers name it, without a port, got \"{}\"", where, value));
}

Result<void> check_origin(std::string_view value, std::string_view where) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!value.starts_with(scheme)) continue;
    const std::string_view rest = value.substr(scheme.size());
    if (!rest.empty() && rest.find_first_of("/ ") == std::string_view::npos) return {};
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: wanted an origin such as https://example.org, got \"{}\"", where, value));
}

void describe_http(config::Section& section, GatewayConfig& gateway) {
  section.field("http", gateway.http,
                "Whether HTTP, Server-Sent Events, WebSocket and the page are served on the same ports.");
  section.field(
      "hosts", gateway.hosts,
      "Names that browsers reach it by, beside localhost and the addresses listened on; others are refused.",
      check_host_name);
  section.field("cors_origins", gateway.cors_origins,
                "Origins whose pages may use it beside its own, each as https://example.org.", check_origin);
  section.bytes("http_header_bytes_max", gateway.http_header_bytes_max, 1024, 1u << 20,
                "Longest head of a request. Its body may be as long as an event.");
  section.field("http_request_timeout", gateway.http_request_timeout, 0ms, 24h,
                "How long a request may take to come, from its first byte to its last; 0s: for ever.");
}

void describe_limits(config::Section& section, GatewayConfig& gateway) {
  section.field("connections_max", gateway.connections_max, 1, 10'000'000,
                "Clients of each backplane connected at a time.");
  section.field("connections_per_address_max", gateway.connections_per_address_max, 1, 10'000'000,
                "The same from one address; loopback has no such limit.");
  section.field("first_byte_timeout", gateway.first_byte_timeout, 0ms, 24h,
                "How long a client may say nothing at all after it connected; 0s: for ever.");
  section.field("idle_timeout", gateway.idle_timeout, 0ms, 24h * 365,
                "How long a client that has subscribed to nothing may say nothing; 0s: for ever.");
  section.bytes("line_bytes_max", gateway.line_bytes_max, 512, 16u << 20, "Longest command, but for PUB.");
  section.bytes("max_event_bytes", gateway.max_event_bytes, 512, 1u << 30, "Largest event, and longest PUB.");
  section.field("subscriptions_per_client_max", gateway.subscriptions_per_client_max, 1, 10'000'000,
                "Patterns that one client may subscribe to.");
  section.bytes("backlog_bytes_max", gateway.backlog_bytes_max, 4096, 1u << 30,
                "Events queued for one client; above it, the client's policy decides.");
  section.bytes("backlog_total_bytes_max", gateway.backlog_total_bytes_max, 1u << 20, std::size_t{1} << 40,
                "Memory for events that any client has yet to get; above it, the slowest lose the oldest. As "
                "much again for answers (values, history, lists); above it, who reads least is sent away.");
  section.bytes("unsent_bytes_max", gateway.unsent_bytes_max, 4096, 1u << 30,
                "What the kernel may hold unsent of one client.");
  section.bytes("values_bytes_max", gateway.values_bytes_max, 1u << 16, std::size_t{1} << 40,
                "Retained values that clients wait for, of all their patterns together.");
}

void describe_feed(config::Section& section, FeedConfig& feed) {
  section.field("listen", feed.listen, "HOST:PORT.", check_listen);
  section.field("backplane", feed.backplane,
                "Whose topics: \"default\", or the name of a [[gateway.backplane]].");
  section.field("topics", feed.topics, "Patterns.", check_pattern_text);
  section.choice("format", feed.format,
                 {{"text", Format::text}, {"text+offset", Format::text_offset}, {"json", Format::json}},
                 "How events are written.");
  if (!section.reading()) return;
  if (feed.listen.empty()) section.error("listen", "wanted HOST:PORT, got nothing");
  if (feed.topics.empty()) section.error("topics", "wanted one pattern or more, got none");
}

/// A backplane that nobody can reach was not meant.
void check_reachable(config::Section& section, const GatewayConfig& gateway) {
  const bool fed = std::any_of(gateway.feeds.begin(), gateway.feeds.end(),
                               [&](const FeedConfig& feed) { return feed.backplane == gateway.first.name; });
  if (gateway.first.listen.empty() && !fed) {
    section.error("listen", "wanted HOST:PORT, or a [[gateway.feed]], got neither");
  }
}

}  // namespace

std::vector<BrokerEndpoints> BackplaneConfig::endpoints() const {
  if (brokers.empty()) return {{ingress, egress, control}};
  std::vector<BrokerEndpoints> all;
  for (const std::string& host : brokers) {
    all.push_back({endpoint_of(host, 5570), endpoint_of(host, 5571), endpoint_of(host, 5572)});
  }
  return all;
}

void describe(config::Section& section, GatewayConfig& gateway) {
  section.field("name", gateway.name, "The name said to the broker; empty: gateway@<host>.");
  section.field("workers", gateway.workers, 0, 256,
                "Threads that write to clients; 0: one less than there are cores, at least one.");
  section.field("metrics", gateway.metrics,
                "HOST:PORT of /metrics, /healthz and /readyz, or \"off\"; 127.0.0.1:9571 is free for it.",
                check_metrics);
  describe_backplane(section, gateway.first);
  describe_http(section, gateway);
  describe_limits(section, gateway);
  section.field("prefixes_max", gateway.prefixes_max, 1, 10'000'000,
                "Distinct subscriptions at the broker; above it the gateway takes everything from it.");
  section.field("flush_window", gateway.flush_window, 0ms, 1s,
                "How long at most events wait for more, under load.");
  section.field("publish_timeout", gateway.publish_timeout, 10ms, 10min,
                "How long a PUB may wait for the broker before it is answered -ERR unavailable.");
  section.field(
      "goodbye_limit", gateway.goodbye_limit, 100ms, 10min,
      "How long a client that is sent away may take to read what is queued for it, as all are when the "
      "gateway ends.");
  std::set<std::string> names{gateway.first.name};
  section.tables("backplane", gateway.others, "Another backplane, with listeners of its own.",
                 [&](config::Section& each, BackplaneConfig& backplane) {
                   each.field("name", backplane.name, "What this gateway calls it.");
                   describe_backplane(each, backplane);
                   if (!each.reading()) return;
                   if (backplane.listen.empty()) each.error("listen", "wanted HOST:PORT, got nothing");
                   if (backplane.name.empty()) {
                     each.error("name", "wanted a name, got none");
                   } else if (!names.insert(backplane.name).second) {
                     each.error("name",
                                fmt::format("wanted each name once, got \"{}\" again", backplane.name));
                   }
                 });
  section.tables("feed", gateway.feeds, "A port on which whoever connects gets its topics, without a word.",
                 [&](config::Section& each, FeedConfig& feed) {
                   describe_feed(each, feed);
                   if (!each.reading() || names.contains(feed.backplane)) return;
                   each.error("backplane",
                              fmt::format("wanted the name of a backplane, got \"{}\"", feed.backplane));
                 });
  if (section.reading()) check_reachable(section, gateway);
}

}  // namespace backplane::gateway
