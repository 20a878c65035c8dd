#include "gateway/config/config.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "core/config/section.hpp"
#include "core/log/escape.hpp"
#include "core/metrics/listener.hpp"
#include "core/net/broker_address.hpp"
#include "core/net/host_port.hpp"
#include "core/net/loopback.hpp"
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

Result<void> check_host(std::string_view value, std::string_view where) {
  return parse_broker_address(value, where).map([](const BrokerAddress&) {});
}

/// Adds an error if other machines can reach the listener, which neither authenticates nor encrypts.
void refuse_if_reachable(config::Section& section, std::string_view key, const std::string& address) {
  const auto parsed = parse_host_port(address, key);
  if (!parsed || is_loopback_host(parsed->host)) return;  // whatever cannot be parsed has its own error
  section.error(key, fmt::format("expected {}, got \"{}\"{}", loopback_expected, log::escape(address),
                                 loopback_advice));
}

/// The same for a listener for clients.
void check_reach(config::Section& section, std::string_view key, const std::string& address,
                 const GatewayConfig& gateway) {
  if (gateway.may_serve_other_machines()) return;
  if (gateway.policy.empty()) return refuse_if_reachable(section, key, address);
  const auto parsed = parse_host_port(address, key);
  if (!parsed || is_loopback_host(parsed->host)) return;
  section.error(key, fmt::format("expected a loopback address, because connections are not encrypted, got "
                                 "\"{}\"; use TLS (tls_certificate, tls_key) or a tunnel or a proxy that "
                                 "encrypts, or give --insecure if nobody can listen on the network",
                                 log::escape(address)));
}

void describe_backplane(config::Section& section, BackplaneConfig& backplane, const GatewayConfig& gateway) {
  section.field("listen", backplane.listen,
                "Addresses for clients, each HOST:PORT. Port 0 picks a free port.", check_listen);
  section.field(
      "mqtt", backplane.mqtt,
      "Addresses for MQTT alone, such as 127.0.0.1:1883. The addresses in `listen` serve MQTT as well.",
      check_listen);
  section.field(
      "brokers", backplane.brokers,
      "The brokers, each HOST or HOST:PORT. PORT is of ingress (default 5570); egress and control have the "
      "next two. Events are read from all of them, and published to the first that works. Empty: the three "
      "endpoints below.",
      check_host);
  section.field("ingress", backplane.ingress, "The broker's endpoint for publishers.", mq::check_endpoint);
  section.field("egress", backplane.egress, "The broker's endpoint for subscribers.", mq::check_endpoint);
  section.field("control", backplane.control, "The broker's endpoint for control requests.",
                mq::check_endpoint);
  if (!section.reading()) return;
  for (const std::string& each : backplane.listen) check_reach(section, "listen", each, gateway);
  for (const std::string& each : backplane.mqtt) check_reach(section, "mqtt", each, gateway);
}

Result<void> check_host_name(std::string_view value, std::string_view where) {
  const bool ipv6 = value.starts_with('[') && value.ends_with(']');
  if (!value.empty() && (ipv6 || value.find_first_of(":/ ") == std::string_view::npos)) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected a host name or address without a port, got \"{}\"", where, value));
}

Result<void> check_origin(std::string_view value, std::string_view where) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!value.starts_with(scheme)) continue;
    const std::string_view rest = value.substr(scheme.size());
    if (!rest.empty() && rest.find_first_of("/ ") == std::string_view::npos) return {};
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected an origin such as https://example.org, got \"{}\"", where, value));
}

void describe_http(config::Section& section, GatewayConfig& gateway) {
  section.field("http", gateway.http,
                "Serve HTTP, Server-Sent Events, WebSocket and the page on the same ports.");
  section.field("zmtp", gateway.zmtp, "Serve ZeroMQ's SUB and PUB sockets on the same ports.");
  section.field("hosts", gateway.hosts,
                "Host names that browsers may use, besides localhost and the addresses in `listen`. Others "
                "are refused.",
                check_host_name);
  section.field("cors_origins", gateway.cors_origins,
                "Origins of other sites whose pages may use the gateway, such as https://example.org.",
                check_origin);
  section.bytes("http_header_bytes_max", gateway.http_header_bytes_max, 1024, 1u << 20,
                "Longest head of an HTTP request. The body may be as long as an event.");
  section.field("http_request_timeout", gateway.http_request_timeout, 0ms, 24h,
                "Time for an HTTP request to arrive, from its first byte to its last. 0s: unlimited.");
}

void describe_tls(config::Section& section, GatewayConfig& gateway) {
  section.one_or_more(
      "tls_certificate", gateway.tls.certificates,
      "Files with the gateway's certificates in PEM, each followed by those between it and the "
      "root. A client that names a host gets the one that is valid for it, or the first one. "
      "Empty: without TLS. SIGHUP reads the files again.");
  section.one_or_more(
      "tls_key", gateway.tls.keys,
      "Files with the private keys of these certificates, in the same order, which other users "
      "can neither read nor write.");
  section.field(
      "tls_client_ca", gateway.tls.client_ca,
      "File with the authorities that sign certificates of clients. Empty: clients are not asked for "
      "a certificate. A client without one is served in any case.");
  section.optional("tls_required", gateway.tls_required,
                   "Refuse clients without TLS. Not set: true if there is a certificate.");
  section.field("tls_handshake_timeout", gateway.tls_handshake_timeout, 100ms, 10min,
                "Time for a client to complete its TLS handshake.");
  section.field("tls_handshakes_max", gateway.tls_handshakes_max, 1, 1'000'000,
                "TLS handshakes in progress, of each backplane. For another one, the oldest is ended.");
  if (!section.reading()) return;
  const std::size_t certificates = gateway.tls.certificates.size();
  if (gateway.tls.keys.size() != certificates) {
    section.error(gateway.tls.keys.empty() ? "tls_certificate" : "tls_key",
                  fmt::format("expected as many keys as certificates, got {} keys for {} certificates",
                              gateway.tls.keys.size(), certificates));
  }
  if (certificates > 0) return;
  constexpr std::string_view without = "expected a tls_certificate as well, got none";
  if (!gateway.tls.client_ca.empty()) section.error("tls_client_ca", without);
  if (gateway.tls_required.value_or(false)) section.error("tls_required", without);
}

void describe_limits(config::Section& section, GatewayConfig& gateway) {
  section.field("connections_max", gateway.connections_max, 1, 10'000'000,
                "Connected clients of each backplane.");
  section.field(
      "connections_per_address_max", gateway.connections_per_address_max, 1, 10'000'000,
      "The same from one address; of IPv6, from one network of 64 bits. Does not apply to loopback.");
  section.field("first_byte_timeout", gateway.first_byte_timeout, 0ms, 24h,
                "Time for a new client to send its first byte. 0s: unlimited.");
  section.field("idle_timeout", gateway.idle_timeout, 0ms, 24h * 365,
                "Time that a client that neither subscribes nor publishes may be silent. 0s: unlimited.");
  section.bytes("line_bytes_max", gateway.line_bytes_max, 512, 16u << 20, "Longest command, except PUB.");
  section.bytes("max_event_bytes", gateway.max_event_bytes, 512, 1u << 30, "Largest event, and longest PUB.");
  section.field("subscriptions_per_client_max", gateway.subscriptions_per_client_max, 1, 10'000'000,
                "Subscriptions of one client.");
  section.field("subscriptions_max", gateway.subscriptions_max, 1, 1'000'000'000,
                "Subscriptions of all clients of each backplane.");
  section.bytes("backlog_bytes_max", gateway.backlog_bytes_max, 4096, 1u << 30,
                "Events queued for one client. Above this, the client's policy applies.");
  section.bytes(
      "backlog_total_bytes_max", gateway.backlog_total_bytes_max, 1u << 20, std::size_t{1} << 40,
      "Memory for events that clients have yet to receive. Above this, the slowest clients lose the oldest "
      "events. The same limit applies to replies (values, history, lists); above it, the client that reads "
      "least is disconnected.");
  section.bytes("unsent_bytes_max", gateway.unsent_bytes_max, 4096, 1u << 30,
                "Unsent bytes in the kernel for one client.");
  section.bytes("values_bytes_max", gateway.values_bytes_max, 1u << 16, std::size_t{1} << 40,
                "Memory for retained values that clients request, of all patterns together.");
}

void describe_feed(config::Section& section, FeedConfig& feed, const GatewayConfig& gateway) {
  section.field("listen", feed.listen, "HOST:PORT.", check_listen);
  section.field("backplane", feed.backplane,
                "The backplane: \"default\", or the name of a [[gateway.backplane]].");
  section.field("topics", feed.topics, "Patterns to subscribe to.", check_pattern_text);
  section.choice("format", feed.format,
                 {{"text", Format::text}, {"text+offset", Format::text_offset}, {"json", Format::json}},
                 "Format of events.");
  if (!section.reading()) return;
  if (feed.listen.empty()) section.error("listen", "expected HOST:PORT, got nothing");
  if (feed.topics.empty()) section.error("topics", "expected one pattern or more, got none");
  check_reach(section, "listen", feed.listen, gateway);
}

/// The first backplane needs an address or a feed; else no client can reach it.
void check_reachable(config::Section& section, const GatewayConfig& gateway) {
  const bool fed = std::any_of(gateway.feeds.begin(), gateway.feeds.end(),
                               [&](const FeedConfig& feed) { return feed.backplane == gateway.first.name; });
  if (gateway.first.listen.empty() && gateway.first.mqtt.empty() && !fed) {
    section.error("listen", "expected HOST:PORT, or a [[gateway.feed]], got neither");
  }
}

}  // namespace

std::vector<BrokerEndpoints> BackplaneConfig::endpoints() const {
  if (local) return {local->endpoints};
  if (brokers.empty()) return {{ingress, egress, control}};
  std::vector<BrokerEndpoints> all;
  for (const std::string& each : brokers) {
    const BrokerAddress address = parse_broker_address(each, "brokers").value_or(BrokerAddress{each});
    all.push_back({address.ingress(), address.egress(), address.control()});
  }
  return all;
}

Result<std::shared_ptr<const fanout::TlsContext>> read_tls(const GatewayConfig& gateway) {
  if (gateway.tls.certificates.empty()) return nullptr;
  return fanout::TlsContext::load(gateway.tls);
}

policy::Policy::Checked<std::shared_ptr<const policy::Policy>> read_policy(const GatewayConfig& gateway) {
  if (gateway.policy.empty()) return nullptr;
  return policy::Policy::load(gateway.policy).map([](policy::Policy&& loaded) {
    return std::make_shared<const policy::Policy>(std::move(loaded));
  });
}

void describe(config::Section& section, GatewayConfig& gateway) {
  section.field("name", gateway.name,
                "The name of this gateway towards the broker. Empty: gateway@<host>, or with a key "
                "gateway@<host>-<key>.");
  section.field("workers", gateway.workers, 0, 256,
                "Threads that write to clients. 0: the number of cores minus 1, at least 1.");
  section.field("metrics", gateway.metrics,
                "Address (HOST:PORT) for /metrics, /healthz and /readyz, such as 127.0.0.1:9571, or \"off\".",
                check_metrics);
  if (section.reading() && !gateway.insecure) refuse_if_reachable(section, "metrics", gateway.metrics);
  // Before the addresses: whether connections are encrypted decides which of these are permitted.
  describe_tls(section, gateway);
  describe_backplane(section, gateway.first, gateway);
  describe_http(section, gateway);
  section.choice(
      "mqtt_payload", gateway.mqtt_payload,
      {{"json", MqttPayload::json}, {"payload", MqttPayload::payload}, {"event", MqttPayload::event}},
      "What MQTT clients get for a typed payload: its JSON, or its own bytes; or for every event the "
      "whole backplane.v1.Event.");
  describe_limits(section, gateway);
  section.field("prefixes_max", gateway.prefixes_max, 1, 10'000'000,
                "Distinct subscriptions at the broker. Above this, the gateway subscribes to everything.");
  section.field("flush_window", gateway.flush_window, 0ms, 1s,
                "How long events may wait for further ones, under load.");
  section.field("publish_timeout", gateway.publish_timeout, 10ms, 10min,
                "How long a PUB may wait for the broker. Then it gets -ERR unavailable.");
  section.field("goodbye_limit", gateway.goodbye_limit, 100ms, 10min,
                "Time for a client that is disconnected to read what is queued for it. When the gateway "
                "shuts down, this "
                "applies to all clients.");
  std::set<std::string> names{gateway.first.name};
  section.tables("backplane", gateway.others, "Another backplane, with its own addresses.",
                 [&](config::Section& each, BackplaneConfig& backplane) {
                   each.field("name", backplane.name, "Name of the backplane in this gateway.");
                   describe_backplane(each, backplane, gateway);
                   if (!each.reading()) return;
                   if (backplane.listen.empty()) each.error("listen", "expected HOST:PORT, got nothing");
                   if (backplane.name.empty()) {
                     each.error("name", "expected a name, got none");
                   } else if (!names.insert(backplane.name).second) {
                     each.error("name",
                                fmt::format("expected each name once, got \"{}\" again", backplane.name));
                   }
                 });
  section.tables(
      "feed", gateway.feeds, "A port on which every client gets the same topics, without a command.",
      [&](config::Section& each, FeedConfig& feed) {
        describe_feed(each, feed, gateway);
        if (!each.reading() || names.contains(feed.backplane)) return;
        each.error("backplane", fmt::format("expected the name of a backplane, got \"{}\"", feed.backplane));
      });
  if (section.reading()) check_reachable(section, gateway);
}

}  // namespace backplane::gateway
