#pragma once
// The configuration of a broker and its backplanes. config/backplane.toml is the commented reference.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/state/retention.hpp"
#include "broker/store/file_history.hpp"
#include "core/config/section.hpp"
#include "core/credentials/key.hpp"
#include "core/policy/policy.hpp"
#include "core/topic/pattern.hpp"

namespace backplane::broker {

/// An endpoint or address with this value is disabled.
inline constexpr const char* off = "off";

/// Retention for the topics of one pattern, as written in the file.
struct RetentionConfig {
  std::string pattern;
  Retention retention;
};

/// Where a backplane keeps its history.
enum class StoreKind : std::uint8_t { memory, file };

/// How long the events of a store on disk are kept, if the configuration does not say: their number and bytes
/// are bounded by store_bytes_max alone.
inline constexpr Retention file_store_retention{
    .history_events = 1u << 30,
    .history_bytes = std::size_t{1} << 40,
    .history_age = std::chrono::hours{7 * 24},
};

/// What decides the order of a backplane's events.
enum class LogKind : std::uint8_t {
  local,      ///< this broker alone
  jetstream,  ///< a log in NATS JetStream, which several brokers share
};

/// Where the log of several brokers is.
struct JetStreamConfig {
  std::vector<std::string> servers;  ///< URLs
  std::string credentials;           ///< a file; "": none
  std::int64_t replicas{};           ///< 0: 3, or 1 if there is one server only
  std::int64_t log_bytes_max = std::int64_t{16} << 30;
};

/// When the file store syncs.
struct SyncPolicy {
  StoreSync when{StoreSync::interval};
  std::chrono::milliseconds interval{1000};
};

/// An egress endpoint that publishes only some topics, for users who may read only those.
struct LimitedEgressConfig {
  std::string endpoint;
  std::vector<std::string> topics;  ///< patterns
  friend bool operator==(const LimitedEgressConfig&, const LimitedEgressConfig&) = default;
};
inline constexpr std::size_t limited_egress_max = 31;

/// What clients need to connect to a broker that has a policy.
struct Admission {
  std::shared_ptr<const policy::Policy> policy;
  std::optional<SecretKey> key;  ///< the broker's
  std::string policy_file;       ///< empty: none; for people
  std::string key_file;          ///< empty: none; for people
  std::string policy_place{};    ///< where each is configured, as errors begin
  std::string key_place{};

  /// Whether clients must have a key of the policy. Either both are given or neither is.
  [[nodiscard]] bool required() const noexcept { return policy != nullptr && key.has_value(); }
};

/// One named backplane: its endpoints and its limits.
struct BackplaneConfig {
  std::string name = "default";
  std::string identity;  ///< "": the host's name and the ingress endpoint
  std::string ingress = "tcp://localhost:5570";
  std::string egress = "tcp://localhost:5571";
  std::string control = "tcp://localhost:5572";
  std::string raw = "tcp://localhost:5574";
  std::vector<std::string> egress_topics{">"};  ///< patterns; apply if admission is required
  std::vector<LimitedEgressConfig> limited_egress;

  std::size_t max_event_bytes = 1u << 20;
  std::size_t max_topics = 1'000'000;
  std::size_t max_sessions = 65'536;
  std::size_t max_subscriptions_warning = 1'000'000;
  std::size_t subscriptions_bytes_max = std::size_t{1} << 30;  ///< of all subscribers
  int egress_hwm = 10'000;

  StoreKind store = StoreKind::memory;
  std::string store_path;   ///< the folder of the file store
  std::string store_place;  ///< where that is configured, as errors begin: "backplane.toml:7 […].store_path"
  std::string store_sync = "1s";
  SyncPolicy sync;  ///< what `store_sync` says
  std::size_t store_bytes_max = std::size_t{16} << 30;

  LogKind log = LogKind::local;
  JetStreamConfig jetstream;
  std::string max_event_place;  ///< where max_event_bytes is configured, as errors begin

  std::size_t history_bytes_max = 256u << 20;
  Retention retention;
  std::vector<RetentionConfig> retention_rules;

  std::chrono::milliseconds stats_every{5'000};
  std::chrono::milliseconds drain_limit{5'000};

  bool insecure{};            ///< BrokerConfig's, set when the broker starts
  Admission admission;        ///< the same
  bool serves_own_process{};  ///< the same
};

struct BrokerConfig {
  std::vector<BackplaneConfig> backplanes{BackplaneConfig{}};
  std::string metrics = "localhost:9570";
  bool insecure{};  ///< listeners may be reachable from other machines, without authentication
  Admission admission;
  /// Whether there are endpoints for the rest of the process (LocalEndpoints); set by the program.
  bool serves_own_process{};
};

/// Describes the `[[backplane]]` tables and `[metrics]`, for reading, printing and the reference. Adds an
/// error that names both lines if two backplanes have the same name or endpoint, and one for each listener
/// that other machines can reach without authentication, unless `insecure` is already set. `admission` must
/// be set.
void describe(config::Section& section, BrokerConfig& broker);

/// Checks what only matters to a program that runs a broker: a policy needs a key, and a key a policy.
Result<void> check_admission(const Admission& admission);

/// An egress endpoint as it is to be opened.
struct EgressEndpoint {
  std::string endpoint;
  std::vector<Pattern> topics;  ///< empty: all
};
/// The egress endpoints of a backplane: `egress`, then those of `limited_egress`. describe() must have
/// checked the patterns.
[[nodiscard]] std::vector<EgressEndpoint> egress_endpoints(const BackplaneConfig& backplane);

/// The value of `store_sync`: always, off, or an interval. @returns an error that begins with `where`.
[[nodiscard]] Result<SyncPolicy> parse_store_sync(std::string_view text, std::string_view where);

/// The files that the backplane's store keeps open at most: one for each segment, and some. 0: in memory.
[[nodiscard]] std::size_t store_files_max(const BackplaneConfig& backplane);

/// The limits for the history store. describe() must have checked the rules' patterns.
[[nodiscard]] HistoryLimits history_limits(const BackplaneConfig& backplane);

/// Whether other machines can reach an endpoint or address.
[[nodiscard]] bool is_reachable_from_elsewhere(const std::string& endpoint);

}  // namespace backplane::broker
