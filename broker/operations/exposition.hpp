#pragma once
// What an operator sees of a backplane: its figures at one moment, and how they are named.

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/state/backplane_state.hpp"
#include "broker/state/participants.hpp"
#include "core/metrics/exposition.hpp"
#include "core/thread/mutex.hpp"

namespace backplane::broker {

/// One backplane's figures at one moment. A value.
struct BackplaneSnapshot {
  using Clock = std::chrono::steady_clock;
  std::string name;
  Clock::time_point taken{};  ///< never: the backplane has not begun
  Counters counters;
  HistoryStore::Figures history;
  Participants::Figures participants;
  std::uint64_t stream{};
  std::uint64_t position{};
  std::int64_t started_ns{};
  std::uint64_t topics{};
  std::uint64_t topics_bytes{};
  std::uint64_t sessions{};
  std::uint64_t sessions_evicted{};
  bool draining{};
};

/// The state as it is now. On the loop thread.
[[nodiscard]] BackplaneSnapshot take_snapshot(
    const BackplaneState& state, const Participants& participants,
    BackplaneSnapshot::Clock::time_point now = BackplaneSnapshot::Clock::now());

/// A figure that is not among the loop's counters. counter_definitions and these, with rejected_total and
/// participants, are all there are; docs/operations.md explains each.
struct FigureDefinition {
  std::string_view name;
  metrics::Kind kind;
  std::string_view help;
  std::uint64_t (*value)(const BackplaneSnapshot&);
};
[[nodiscard]] std::span<const FigureDefinition> figure_definitions();

/// Every figure under its name in docs/operations.md; what has labels there has their values behind a dot
/// here: `rejected_total.bad_topic`, `participants.publisher.up`. For StatsReply and BrokerStats.
[[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> named_counters(
    const BackplaneSnapshot& snapshot);

/// Prometheus' families: backplane_broker_<name>{backplane="…"}.
[[nodiscard]] std::vector<metrics::Family> families(std::span<const BackplaneSnapshot> snapshots);

/// The text of a broker's /metrics.
[[nodiscard]] std::string expose_snapshots(std::span<const BackplaneSnapshot> snapshots);

/// Why /readyz must say no; empty: ready.
[[nodiscard]] std::string not_ready_reason(
    const BackplaneSnapshot& snapshot,
    BackplaneSnapshot::Clock::time_point now = BackplaneSnapshot::Clock::now());

/// A loop that has published no snapshot for so long is stuck.
inline constexpr std::chrono::seconds snapshot_age_max{10};

/// The crossing from a loop to whoever shows its figures. Any thread; the lock is held for a copy.
class SnapshotBoard {
 public:
  void publish(BackplaneSnapshot snapshot);
  /// The last one published; before the first an empty one.
  [[nodiscard]] BackplaneSnapshot latest() const;

 private:
  mutable Mutex mutex_;
  BackplaneSnapshot latest_ GUARDED_BY(mutex_);
};

}  // namespace backplane::broker
