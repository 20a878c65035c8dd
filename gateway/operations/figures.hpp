#pragma once
// What an operator sees of a gateway: its figures at one moment, and how they are named.

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/metrics/exposition.hpp"
#include "fanout/engine.hpp"
#include "fanout/listeners.hpp"
#include "follower/follower.hpp"
#include "gateway/hub/hub.hpp"
#include "gateway/protocols/http/counters.hpp"
#include "gateway/session/session_counters.hpp"
#include "gateway/session/websocket_counters.hpp"
#include "gateway/upstream/publish_queue.hpp"

namespace backplane::gateway {

/// One backplane's figures at one moment. A value.
struct Figures {
  std::string backplane;
  bool connected{};
  fanout::EngineCounters engine;
  fanout::ListenersCounters listeners;
  HubCounters hub;
  FollowerStatus upstream;
  PublishQueue::Counters published;
  http::Counted http;
  websocket::Counted websockets;
  SessionsCounted sessions;
  std::uint64_t log_bytes{};
  std::uint64_t prefixes{};
  bool everything{};
};

/// One figure: `backplane_gateway_<name>`, with a label where it is one of several.
struct FigureDefinition {
  std::string_view name;
  metrics::Kind kind;
  std::string_view label;        ///< name of the label, or empty
  std::string_view label_value;  ///< the same
  std::string_view help;
  std::uint64_t (*value)(const Figures&);
};

/// All of them; those of one name stand together. docs/operations.md explains each.
[[nodiscard]] std::span<const FigureDefinition> figure_definitions();

/// Prometheus' families: backplane_gateway_<name>{backplane="…"}.
[[nodiscard]] std::vector<metrics::Family> families(std::span<const Figures> all);

/// Why /readyz must say no; empty: every backplane has its broker.
[[nodiscard]] std::string not_ready_reason(std::span<const Figures> all);

/// For programs: `{"backplane":"default","broker":true,"counters":{…}}` with the counters of
/// hello_counters(); of the backplane `name`.
[[nodiscard]] std::string status_json(std::span<const Figures> all, std::string_view name);

/// What goes with the gateway's hello to the broker, for `backplane top` and `audit`: the ledger by the names
/// of docs/operations.md, labels behind a dot (`dropped_total.slow_consumer`).
[[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> hello_counters(const Figures& figures);

/// The crossing from the upstream thread to whoever shows the figures. Any thread; the lock is held for a
/// copy.
class FiguresBoard {
 public:
  void publish(std::vector<Figures> figures);
  [[nodiscard]] std::vector<Figures> latest() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Figures> latest_;  // under mutex_
};

}  // namespace backplane::gateway
