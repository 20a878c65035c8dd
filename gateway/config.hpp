#pragma once
// What a gateway can be told.

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace backplane::config {
class Section;
}

namespace backplane::gateway {

/// The initialisers are the defaults. One gateway serves one backplane.
struct GatewayConfig {
  /// The stable name said to the broker, and the source of what clients publish; empty: gateway@<host>.
  std::string name;
  std::vector<std::string> listen{"127.0.0.1:1601"};

  std::string ingress = "tcp://127.0.0.1:5570";
  std::string egress = "tcp://127.0.0.1:5571";
  std::string control = "tcp://127.0.0.1:5572";

  std::size_t connections_max = 16'384;
  std::size_t connections_per_address_max = 256;    ///< loopback has no such limit
  std::chrono::milliseconds first_byte_timeout{0};  ///< 0: none, as people type slowly
  std::size_t line_bytes_max = 64u << 10;
  std::size_t max_event_bytes = 1u << 20;  ///< also the longest PUB line
  std::size_t subscriptions_per_client_max = 100'000;
  std::size_t backlog_bytes_max = 8u << 20;
  std::size_t backlog_total_bytes_max = 1u << 30;
  std::chrono::milliseconds publish_timeout{2000};
};

/// Describes the table [gateway] to core/config.
void describe(config::Section& section, GatewayConfig& gateway);

}  // namespace backplane::gateway
