#pragma once
// What a gateway can be told.

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "core/error/error.hpp"
#include "follower/follower.hpp"
#include "gateway/encode/encoder.hpp"

namespace backplane::config {
class Section;
}

namespace backplane::gateway {

/// One backplane, and where its clients come in.
struct BackplaneConfig {
  std::string name;                 ///< for its feeds, its ready line and its figures
  std::vector<std::string> listen;  ///< HOST:PORT each
  /// Hosts with the default ports, one after the other; none: the three endpoints.
  std::vector<std::string> brokers;
  std::string ingress = "tcp://127.0.0.1:5570";
  std::string egress = "tcp://127.0.0.1:5571";
  std::string control = "tcp://127.0.0.1:5572";

  /// Where its brokers are, at least one.
  [[nodiscard]] std::vector<BrokerEndpoints> endpoints() const;
};

/// A port on which nobody need say anything.
struct FeedConfig {
  std::string listen;
  std::string backplane = "default";
  std::vector<std::string> topics;  ///< patterns
  Format format = Format::text;
};

/// The initialisers are the defaults.
struct GatewayConfig {
  /// The stable name said to the broker, and the source of what clients publish; empty: gateway@<host>.
  std::string name;
  /// The first one's keys stand in [gateway] itself.
  BackplaneConfig first{.name = "default", .listen = {"127.0.0.1:1601"}, .brokers = {}};
  std::vector<BackplaneConfig> others;
  std::vector<FeedConfig> feeds;

  std::size_t workers = 0;      ///< 0: one less than there are cores, at least 1
  std::string metrics = "off";  ///< HOST:PORT

  bool http = true;                       ///< spoken on the same ports as the line protocol
  std::vector<std::string> hosts;         ///< names, beside the loopback's
  std::vector<std::string> cors_origins;  ///< exactly as a browser says them
  std::size_t http_header_bytes_max = 16u << 10;
  std::chrono::milliseconds http_request_timeout{30'000};  ///< 0: none

  std::size_t connections_max = 16'384;
  std::size_t connections_per_address_max = 256;         ///< loopback has no such limit
  std::chrono::milliseconds first_byte_timeout{10'000};  ///< 0: none
  std::chrono::milliseconds idle_timeout{600'000};       ///< the same; only where nothing is subscribed to
  std::size_t line_bytes_max = 64u << 10;
  std::size_t max_event_bytes = 1u << 20;  ///< also the longest PUB line
  std::size_t subscriptions_per_client_max = 100'000;
  std::size_t backlog_bytes_max = 8u << 20;
  std::size_t backlog_total_bytes_max = 1u << 30;
  std::size_t unsent_bytes_max = 64u << 10;  ///< in the kernel, a client
  std::size_t values_bytes_max = 64u << 20;
  std::size_t prefixes_max = 10'000;
  std::chrono::milliseconds flush_window{2};
  std::chrono::milliseconds publish_timeout{2000};
  std::chrono::milliseconds goodbye_limit{1000};  ///< to read what is queued, for who is sent away
};

/// Describes the table [gateway] to core/config.
void describe(config::Section& section, GatewayConfig& gateway);

}  // namespace backplane::gateway
