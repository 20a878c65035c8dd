#include "gateway/config.hpp"

#include "core/config/section.hpp"
#include "core/wire/scan.hpp"
#include "core/zmq/socket.hpp"
#include "fanout/address.hpp"

namespace backplane::gateway {
namespace {

Result<void> check_listen(std::string_view value, std::string_view where) {
  if (auto parsed = fanout::parse_host_port(value, where); !parsed) return tl::unexpected(parsed.error());
  return {};
}

}  // namespace

void describe(config::Section& section, GatewayConfig& gateway) {
  using namespace std::chrono_literals;
  section.field("name", gateway.name, "The name said to the broker; empty: gateway@<host>.");
  section.field("listen", gateway.listen, "Where clients connect, each HOST:PORT; port 0 picks a free one.",
                check_listen);
  section.field("ingress", gateway.ingress, "The broker's endpoint for publishers.", mq::check_endpoint);
  section.field("egress", gateway.egress, "The broker's endpoint for subscribers.", mq::check_endpoint);
  section.field("control", gateway.control, "The broker's endpoint for questions.", mq::check_endpoint);
  section.field("connections_max", gateway.connections_max, 1, 10'000'000, "Clients connected at a time.");
  section.field("connections_per_address_max", gateway.connections_per_address_max, 1, 10'000'000,
                "The same from one address; loopback has no such limit.");
  section.field("first_byte_timeout", gateway.first_byte_timeout, 0ms, 24h,
                "How long a client may say nothing at all after it connected; 0s: for ever.");
  section.bytes("line_bytes_max", gateway.line_bytes_max, 512, 16u << 20, "Longest command, but for PUB.");
  section.bytes("max_event_bytes", gateway.max_event_bytes, 512, 1u << 30, "Largest event, and longest PUB.");
  section.field("subscriptions_per_client_max", gateway.subscriptions_per_client_max, 1, 10'000'000,
                "Patterns that one client may subscribe to.");
  section.bytes("backlog_bytes_max", gateway.backlog_bytes_max, 4096, 1u << 30,
                "Events queued for one client; above it, the client's policy decides.");
  section.bytes("backlog_total_bytes_max", gateway.backlog_total_bytes_max, 1u << 20, std::size_t{1} << 40,
                "The same for all clients together.");
  section.field("publish_timeout", gateway.publish_timeout, 10ms, 10min,
                "How long a PUB may wait for the broker before it is answered -ERR unavailable.");
}

}  // namespace backplane::gateway
