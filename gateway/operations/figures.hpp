#pragma once
// The metrics of a gateway.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/metrics/exposition.hpp"
#include "core/thread/mutex.hpp"
#include "fanout/engine.hpp"
#include "fanout/listeners.hpp"
#include "follower/follower.hpp"
#include "gateway/access/access_counters.hpp"
#include "gateway/access/rights.hpp"
#include "gateway/hub/hub.hpp"
#include "gateway/protocols/http/counters.hpp"
#include "gateway/session/mqtt_counters.hpp"
#include "gateway/session/session_counters.hpp"
#include "gateway/session/websocket_counters.hpp"
#include "gateway/session/zmtp_services.hpp"
#include "gateway/upstream/publish_queue.hpp"

namespace backplane::gateway {

/// The figures of one backplane at one moment.
struct Figures {
  std::string backplane;
  bool connected{};
  bool insecure{};
  bool has_policy{};
  fanout::EngineCounters engine;
  fanout::ListenersCounters listeners;
  HubCounters hub;
  FollowerStatus upstream;
  PublishQueue::Counters published;
  http::Counted http;
  websocket::Counted websockets;
  ZmtpCounted zmtp;
  mqtt::Counted mqtt;
  SessionsCounted sessions;
  AccessCounted access;
  std::uint64_t log_bytes{};
  std::uint64_t tls_expires{};  ///< Unix time in seconds; 0: without TLS
  std::uint64_t prefixes{};
  bool everything{};
};

/// One metric, `backplane_gateway_<name>`, or one label value of it.
struct FigureDefinition {
  std::string_view name;
  metrics::Kind kind;
  std::string_view label;        ///< name of the label, or empty
  std::string_view label_value;  ///< its value, or empty
  std::string_view help;
  std::uint64_t (*value)(const Figures&);
};

/// All metrics. Those of one name are adjacent. docs/operations.md explains each.
[[nodiscard]] std::span<const FigureDefinition> figure_definitions();

/// Prometheus families: backplane_gateway_<name>{backplane="…"}.
[[nodiscard]] std::vector<metrics::Family> families(std::span<const Figures> all);

/// Why /readyz is 503; empty if every backplane has a broker.
[[nodiscard]] std::string not_ready_reason(std::span<const Figures> all);

/// The status of the backplane `name` for programs: `{"backplane":"default","broker":true,"counters":{…}}`,
/// with
/// `"store":{"sync":"1s","bytes":1234,…}` if the broker has a file store,
/// with the counters of hello_counters(). With a policy, it is for the user with these rights: the counters
/// and the store are for users with admin only, and `"user":"dashboard","admin":false` shows whom it is for.
[[nodiscard]] std::string status_json(std::span<const Figures> all, std::string_view name,
                                      const Rights* rights = nullptr);

/// The counters in the gateway's hello to the broker, for `backplane top` and `audit`: the ledger, by the
/// names of docs/operations.md. Label values are appended after a dot (`dropped_total.slow_consumer`).
[[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> hello_counters(const Figures& figures);

/// Passes figures from the upstream thread to the threads that serve them. Any thread; the lock protects a
/// copy.
class FiguresBoard {
 public:
  void publish(std::vector<Figures> figures);
  [[nodiscard]] std::vector<Figures> latest() const;

 private:
  mutable Mutex mutex_;
  std::vector<Figures> latest_ GUARDED_BY(mutex_);
};

}  // namespace backplane::gateway
