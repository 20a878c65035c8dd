#pragma once
// The configuration of a gateway.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/credentials.hpp"
#include "core/error/error.hpp"
#include "core/net/loopback.hpp"
#include "core/policy/policy.hpp"
#include "core/zmq/client_keys.hpp"
#include "fanout/tls/context.hpp"
#include "follower/broker_endpoints.hpp"
#include "gateway/encode/encoder.hpp"

namespace backplane::config {
class Section;
}

namespace backplane::gateway {

/// A broker in the same process.
struct LocalBroker {
  std::shared_ptr<mq::Context> context;  ///< which has its endpoints
  BrokerEndpoints endpoints;             ///< inproc, without keys
};

/// What a program that does more than a gateway adds to the gateway's pages. Called by the gateway's threads,
/// as long as it lives.
struct ProcessPages {
  std::function<std::string()> metrics;        ///< is part of /metrics
  std::function<std::string()> why_not_ready;  ///< for /readyz; empty: ready
};

/// One backplane: its brokers, and the addresses for its clients.
struct BackplaneConfig {
  std::string name;                 ///< in feeds, the ready line and metrics
  std::vector<std::string> listen;  ///< HOST:PORT each
  std::vector<std::string> mqtt{};  ///< the same, for MQTT alone
  /// HOST or HOST:PORT of ingress each, in order of preference; none: the three endpoints below.
  std::vector<std::string> brokers;
  std::string ingress = "tcp://127.0.0.1:5570";
  std::string egress = "tcp://127.0.0.1:5571";
  std::string control = "tcp://127.0.0.1:5572";

  std::optional<LocalBroker> local{};  ///< in place of these; set by the program

  /// The endpoints of its brokers, at least one.
  [[nodiscard]] std::vector<BrokerEndpoints> endpoints() const;
};

/// A port on which every client gets the same topics, without a command.
struct FeedConfig {
  std::string listen;
  std::string backplane = "default";
  std::vector<std::string> topics;  ///< patterns
  Format format = Format::text;
};

/// The table [gateway]. The initialisers are the defaults.
struct GatewayConfig {
  /// The stable name towards the broker, and the source of events that clients publish; empty:
  /// default_name("gateway").
  std::string name;
  /// The keys of the first backplane are in [gateway] itself.
  BackplaneConfig first{.name = "default", .listen = {"localhost:1601"}, .brokers = {}};
  std::vector<BackplaneConfig> others;
  std::vector<FeedConfig> feeds;

  Credentials credentials{};  ///< for connections to brokers
  mq::SharedKeys keys{};      ///< those of `credentials`; filled in by the program

  bool insecure{};     ///< listeners may be reachable from other machines, without authentication
  std::string policy;  ///< file of the policy (docs/security.md); empty: everybody may do everything

  /// Whether all connections are encrypted: tokens and events cannot be read on the way.
  [[nodiscard]] bool encrypts() const { return !tls.certificates.empty() && tls_required.value_or(true); }
  /// Whether clients' listeners may be reachable from other machines.
  [[nodiscard]] bool may_serve_other_machines() const { return insecure || (!policy.empty() && encrypts()); }

  /// How `insecure` is reported at the start and on /readyz; empty if it is not set.
  [[nodiscard]] std::string_view insecure_note() const {
    if (!insecure) return {};
    return policy.empty() ? backplane::insecure_note : insecure_plaintext_note;
  }

  fanout::TlsFiles tls;              ///< without certificates: no client uses TLS
  std::optional<bool> tls_required;  ///< not set: if there is a certificate
  std::chrono::milliseconds tls_handshake_timeout{10'000};
  std::size_t tls_handshakes_max = 1024;  ///< in progress, of each backplane

  std::optional<std::uint64_t> open_files_max{};  ///< a part of the process's limit; set by the program
  ProcessPages process_pages{};                   ///< set by the program

  std::size_t workers = 0;      ///< 0: the number of cores minus 1, at least 1
  std::string metrics = "off";  ///< HOST:PORT or off

  bool http = true;                       ///< on the same ports as the line protocol
  bool zmtp = true;                       ///< so: ZeroMQ clients
  std::vector<std::string> hosts;         ///< names besides those of the loopback
  std::vector<std::string> cors_origins;  ///< exactly as browsers send them
  MqttPayload mqtt_payload = MqttPayload::json;
  std::size_t http_header_bytes_max = 16u << 10;
  std::chrono::milliseconds http_request_timeout{30'000};  ///< 0: unlimited

  std::size_t connections_max = 16'384;
  std::size_t connections_per_address_max = 256;         ///< not for loopback
  std::chrono::milliseconds first_byte_timeout{10'000};  ///< 0: unlimited
  std::chrono::milliseconds idle_timeout{600'000};       ///< of clients without subscriptions; 0: unlimited
  std::size_t line_bytes_max = 64u << 10;
  std::size_t max_event_bytes = 1u << 20;  ///< also the longest PUB line
  std::size_t subscriptions_per_client_max = 100'000;
  std::size_t subscriptions_max = 1'000'000;  ///< of all clients of a backplane
  std::size_t backlog_bytes_max = 8u << 20;
  std::size_t backlog_total_bytes_max = 1u << 30;
  std::size_t unsent_bytes_max = 64u << 10;  ///< in the kernel, per client
  std::size_t values_bytes_max = 64u << 20;
  std::size_t prefixes_max = 10'000;
  std::chrono::milliseconds flush_window{2};
  std::chrono::milliseconds publish_timeout{2000};
  std::chrono::milliseconds goodbye_limit{1000};  ///< for a disconnected client to read what is queued
};

/// Describes the table [gateway] to core/config. Adds an error for each listener that other machines can
/// reach, unless `insecure` is already set.
void describe(config::Section& section, GatewayConfig& gateway);

/// Reads the files of `tls`. Not a part of describe(): programs that only read the rest of the configuration
/// may not be permitted to read keys.
/// @returns nullptr without certificates; or an error such as `gw.key: expected the key of gw.pem, …`.
Result<std::shared_ptr<const fanout::TlsContext>> read_tls(const GatewayConfig& gateway);

/// Reads the file of `policy` again.
/// @returns nullptr without one; or every error in it, one line each.
policy::Policy::Checked<std::shared_ptr<const policy::Policy>> read_policy(const GatewayConfig& gateway);

}  // namespace backplane::gateway
