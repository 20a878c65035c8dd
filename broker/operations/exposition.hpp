#pragma once
// Snapshots of a backplane's counters and gauges, their names, and readiness.

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/state/backplane_state.hpp"
#include "broker/state/participants.hpp"
#include "core/metrics/exposition.hpp"
#include "core/process/host.hpp"
#include "core/thread/mutex.hpp"

namespace backplane::broker {

/// The counters and gauges of one backplane at one moment. A value type.
struct BackplaneSnapshot {
  using Clock = std::chrono::steady_clock;
  std::string name;
  Clock::time_point taken{};  ///< default: the backplane has not started
  Counters counters;
  HistoryStore::Figures history;
  HistoryStore::Condition store;
  std::string store_kind{"memory"};
  std::string store_sync;
  Participants::Figures participants;
  std::uint64_t stream{};
  std::uint64_t position{};
  std::uint64_t start_position{};
  std::uint64_t missing_at_start{};
  std::uint64_t offsets_without_position{};
  std::int64_t started_ns{};
  std::uint64_t topics{};
  std::uint64_t topics_bytes{};
  std::uint64_t sessions{};
  std::uint64_t sessions_evicted{};
  bool draining{};
  bool insecure{};
  std::uint64_t policy_users{};
  std::uint64_t topics_max{};
  std::uint64_t sessions_max{};
  ProcessFigures process;
  std::string log_fault;                 ///< why the log accepts no events; empty: it does
  std::optional<ClusterReport> cluster;  ///< if several brokers share a log
};

/// A snapshot of the current state. On the loop thread.
[[nodiscard]] BackplaneSnapshot take_snapshot(
    const BackplaneState& state, const Participants& participants,
    BackplaneSnapshot::Clock::time_point now = BackplaneSnapshot::Clock::now());

/// A metric that is not one of the loop's counters. counter_definitions and these, with rejected_total,
/// participants, store_info and the histograms, are all metrics; docs/operations.md explains each.
struct FigureDefinition {
  std::string_view name;
  metrics::Kind kind;
  std::string_view help;
  std::uint64_t (*value)(const BackplaneSnapshot&);
};
[[nodiscard]] std::span<const FigureDefinition> figure_definitions();

/// All metrics by their names in docs/operations.md, as whole numbers: times are in nanoseconds. Label values
/// are appended after a dot: `rejected_total.bad_topic`, `participants.publisher.up`. A histogram
/// `store_sync_seconds` is `store_syncs_total` and `store_sync_nanoseconds_total`. For StatsReply and
/// BrokerStats.
[[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> named_counters(
    const BackplaneSnapshot& snapshot);

/// The Prometheus families: backplane_broker_<name>{backplane="…"}.
[[nodiscard]] std::vector<metrics::Family> families(std::span<const BackplaneSnapshot> snapshots);

/// The body of a broker's /metrics page.
[[nodiscard]] std::string expose_snapshots(std::span<const BackplaneSnapshot> snapshots);

/// Why the backplane is not ready, for /readyz; empty: it is ready.
[[nodiscard]] std::string not_ready_reason(
    const BackplaneSnapshot& snapshot,
    BackplaneSnapshot::Clock::time_point now = BackplaneSnapshot::Clock::now());

/// A loop that has published no snapshot for this long is stuck.
inline constexpr std::chrono::seconds snapshot_age_max{10};

/// Whether the snapshot's loop has stopped turning. False before its first snapshot.
[[nodiscard]] bool is_stuck(const BackplaneSnapshot& snapshot,
                            BackplaneSnapshot::Clock::time_point now = BackplaneSnapshot::Clock::now());

/// Passes snapshots from a loop to the metrics listener's thread. Any thread; the lock is held only for a
/// copy.
class SnapshotBoard {
 public:
  void publish(BackplaneSnapshot snapshot);
  /// The latest snapshot; an empty one before the first.
  [[nodiscard]] BackplaneSnapshot latest() const;

 private:
  mutable Mutex mutex_;
  BackplaneSnapshot latest_ GUARDED_BY(mutex_);
};

}  // namespace backplane::broker
