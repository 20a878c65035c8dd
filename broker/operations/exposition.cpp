#include "broker/operations/exposition.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/log/log.hpp"

namespace backplane::broker {
namespace {

using Snapshot = BackplaneSnapshot;
using metrics::Family;
using metrics::Kind;
using metrics::Sample;

template <class T>
constexpr std::uint64_t of_cluster(const Snapshot& snapshot, T ClusterReport::*member) {
  return snapshot.cluster ? static_cast<std::uint64_t>((*snapshot.cluster).*member) : 0;
}

constexpr std::array figures{
    FigureDefinition{"position", Kind::gauge, "Position of the last event admitted",
                     [](const Snapshot& s) { return s.position; }},
    FigureDefinition{"draining", Kind::gauge, "1 while the backplane drains before it ends",
                     [](const Snapshot& s) { return std::uint64_t{s.draining}; }},
    FigureDefinition{"insecure", Kind::gauge,
                     "1 if other machines may be served without authentication (--insecure)",
                     [](const Snapshot& s) { return std::uint64_t{s.insecure}; }},
    FigureDefinition{"policy_users", Kind::gauge,
                     "Users of the policy who have a key; 0: everybody can connect",
                     [](const Snapshot& s) { return s.policy_users; }},
    FigureDefinition{
        "started_seconds", Kind::gauge, "Unix time at which the backplane started",
        [](const Snapshot& s) { return static_cast<std::uint64_t>(s.started_ns) / 1'000'000'000; }},
    FigureDefinition{
        "subscriptions", Kind::gauge, "Subscriptions active on egress",
        [](const Snapshot& s) { return s.counters.subscriptions_total - s.counters.unsubscriptions_total; }},
    FigureDefinition{"topics", Kind::gauge, "Topics known", [](const Snapshot& s) { return s.topics; }},
    FigureDefinition{"topics_max", Kind::gauge, "Limit of topics",
                     [](const Snapshot& s) { return s.topics_max; }},
    FigureDefinition{"topics_bytes", Kind::gauge, "Memory used by the numbering of topics",
                     [](const Snapshot& s) { return s.topics_bytes; }},
    FigureDefinition{"sessions", Kind::gauge, "Publisher sessions whose sequences are tracked",
                     [](const Snapshot& s) { return s.sessions; }},
    FigureDefinition{"sessions_max", Kind::gauge, "Limit of sessions",
                     [](const Snapshot& s) { return s.sessions_max; }},
    FigureDefinition{"sessions_evicted_total", Kind::counter,
                     "Sessions evicted at max_sessions: their duplicates can no longer be detected",
                     [](const Snapshot& s) { return s.sessions_evicted; }},
    FigureDefinition{"history_events", Kind::gauge, "Events in history",
                     [](const Snapshot& s) { return s.history.events; }},
    FigureDefinition{"history_values", Kind::gauge, "Retained values",
                     [](const Snapshot& s) { return s.history.values; }},
    FigureDefinition{"history_bytes", Kind::gauge, "Memory used by history and retained values",
                     [](const Snapshot& s) { return s.history.bytes; }},
    FigureDefinition{"history_evicted_events_total", Kind::counter,
                     "Events evicted from history because of history_bytes_max",
                     [](const Snapshot& s) { return s.history.evicted_events; }},
    FigureDefinition{"history_evicted_values_total", Kind::counter,
                     "Retained values evicted because of history_bytes_max",
                     [](const Snapshot& s) { return s.history.evicted_values; }},
    FigureDefinition{"history_expired_events_total", Kind::counter,
                     "Events that exceeded their topic's count, bytes or age",
                     [](const Snapshot& s) { return s.history.expired_events; }},
    FigureDefinition{"history_expired_values_total", Kind::counter, "Retained values that exceeded their ttl",
                     [](const Snapshot& s) { return s.history.expired_values; }},
    FigureDefinition{"log_lines_dropped_total", Kind::counter,
                     "Log lines of the process dropped because they could not be written",
                     [](const Snapshot&) { return log::dropped_lines(); }},
    FigureDefinition{"memory_bytes", Kind::gauge, "Resident memory of the process",
                     [](const Snapshot& s) { return s.process.memory_bytes; }},
    FigureDefinition{"memory_bytes_max", Kind::gauge, "Memory that the process may use",
                     [](const Snapshot& s) { return s.process.memory_bytes_max; }},
    FigureDefinition{"open_files", Kind::gauge, "Descriptors that the process uses, about",
                     [](const Snapshot& s) { return s.process.open_files; }},
    FigureDefinition{"open_files_max", Kind::gauge, "Descriptors that the process may use",
                     [](const Snapshot& s) { return s.process.open_files_max; }},
    FigureDefinition{"start_position", Kind::gauge, "Position of the last event before this process",
                     [](const Snapshot& s) { return s.start_position; }},
    FigureDefinition{"history_missing_at_start", Kind::gauge,
                     "Events up to start_position that were not in history when the process started",
                     [](const Snapshot& s) { return s.missing_at_start; }},
    FigureDefinition{"offsets_without_position", Kind::gauge,
                     "Offsets of events that were lost before they reached the broker, beyond one per notice",
                     [](const Snapshot& s) { return s.offsets_without_position; }},
    FigureDefinition{"links_up", Kind::gauge, "Links that publish to the broker or read from it",
                     [](const Snapshot& s) { return s.participants.links_up; }},
    FigureDefinition{"links_down", Kind::gauge, "Links that no longer send Hello",
                     [](const Snapshot& s) { return s.participants.links_down; }},
    FigureDefinition{"links_lag_positions", Kind::gauge,
                     "Positions of their sources that the links have not passed on yet",
                     [](const Snapshot& s) { return s.participants.link_lag_positions; }},
    FigureDefinition{"links_lost", Kind::gauge,
                     "Events that the links have announced as lost since they started",
                     [](const Snapshot& s) { return s.participants.link_lost; }},
    FigureDefinition{"store_bytes", Kind::gauge, "Bytes of all files of the file store",
                     [](const Snapshot& s) { return s.history.disk_bytes; }},
    FigureDefinition{"store_bytes_max", Kind::gauge, "Limit of store_bytes",
                     [](const Snapshot& s) { return s.history.disk_bytes_max; }},
    FigureDefinition{"store_segments", Kind::gauge, "Segments of the file store",
                     [](const Snapshot& s) { return s.history.segments; }},
    FigureDefinition{"store_oldest_seconds", Kind::gauge,
                     "Unix time at which the oldest event in the file store was received; 0: there is none",
                     [](const Snapshot& s) {
                       return static_cast<std::uint64_t>(std::max<std::int64_t>(s.history.oldest_ns, 0)) /
                              1'000'000'000;
                     }},
    FigureDefinition{"store_queued_bytes", Kind::gauge,
                     "Events accepted and not yet written to the file store",
                     [](const Snapshot& s) { return s.history.queued_bytes; }},
    FigureDefinition{"store_written_events_total", Kind::counter,
                     "Events written to the file store since the process started",
                     [](const Snapshot& s) { return s.history.written_events; }},
    FigureDefinition{"store_written_bytes_total", Kind::counter,
                     "Bytes written to the file store for new events",
                     [](const Snapshot& s) { return s.history.written_bytes; }},
    FigureDefinition{"store_syncs_total", Kind::counter, "Times that the file store was synced",
                     [](const Snapshot& s) { return s.history.syncs.count(); }},
    FigureDefinition{"store_cleaned_bytes_total", Kind::counter,
                     "Bytes that the file store copied to remove events that have expired",
                     [](const Snapshot& s) { return s.history.cleaned_bytes; }},
    FigureDefinition{"store_freed_bytes_total", Kind::counter,
                     "Bytes of the file store that the removal of expired events has freed",
                     [](const Snapshot& s) { return s.history.freed_bytes; }},
    FigureDefinition{"store_damaged_ranges", Kind::gauge, "Places in the file store that could not be read",
                     [](const Snapshot& s) { return s.history.damaged_ranges; }},
    FigureDefinition{
        "store_full", Kind::gauge, "1 while the file store has no room for new events",
        [](const Snapshot& s) { return std::uint64_t{s.store.health == HistoryStore::Health::full}; }},
    FigureDefinition{"store_full_total", Kind::counter,
                     "Times that the file store had no room for new events",
                     [](const Snapshot& s) { return s.history.times_full; }},
    FigureDefinition{
        "cluster_members", Kind::gauge,
        "Brokers of the cluster that have appended to the log in the last seconds; 0: no cluster",
        [](const Snapshot& s) -> std::uint64_t { return s.cluster ? s.cluster->members_here() : 0; }},
    FigureDefinition{"cluster_quorum", Kind::gauge,
                     "1 if a majority of the servers of the log can be reached",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::has_quorum); }},
    FigureDefinition{
        "cluster_accepts", Kind::gauge, "1 if this broker takes events into the log",
        [](const Snapshot& s) -> std::uint64_t { return s.cluster && s.cluster->fault.empty() ? 1 : 0; }},
    FigureDefinition{"cluster_log_index", Kind::gauge, "The last batch of the log that is applied here",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::index); }},
    FigureDefinition{"cluster_log_last_index", Kind::gauge, "The last batch of the log",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::last_index); }},
    FigureDefinition{"cluster_log_lag", Kind::gauge, "Batches of the log that are not applied here yet",
                     [](const Snapshot& s) -> std::uint64_t { return s.cluster ? s.cluster->lag() : 0; }},
    FigureDefinition{"cluster_checkpoint_index", Kind::gauge,
                     "The last batch in the newest checkpoint of the log",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::checkpoint_index); }},
    FigureDefinition{"cluster_appends_total", Kind::counter, "Batches appended to the log, with retries",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::appends); }},
    FigureDefinition{"cluster_retries_total", Kind::counter,
                     "Batches appended again because the outcome was unknown or an error",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::retries); }},
    FigureDefinition{"cluster_duplicate_batches_total", Kind::counter,
                     "Batches skipped because they came again",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::duplicates); }},
    FigureDefinition{"cluster_fenced_batches_total", Kind::counter,
                     "Late batches skipped because their broker has started again since",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::fenced); }},
    FigureDefinition{"cluster_early_batches_total", Kind::counter,
                     "Batches skipped because the one before was missing",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::holes); }},
    FigureDefinition{"cluster_rereads_total", Kind::counter,
                     "Times that a part of the log was read again because something was left out",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::rereads); }},
    FigureDefinition{"cluster_log_read_bytes_total", Kind::counter, "Bytes of the log that were read",
                     [](const Snapshot& s) { return of_cluster(s, &ClusterReport::read_bytes); }},
};

// The metrics with labels of their own are written out below.
constexpr std::string_view rejected_name = "rejected_total";
constexpr std::string_view rejected_help = "Messages refused, by reason";
constexpr std::string_view participants_name = "participants";
constexpr std::string_view store_info_name = "store_info";
constexpr std::string_view store_info_help = "Always 1; its labels are the kind of the store and store_sync";
constexpr std::string_view participants_help = "Participants that send or sent Hello, by role and state";

struct HistogramDefinition {
  std::string_view name;
  std::string_view help;
  const metrics::LatencyHistogram& (*value)(const Snapshot&);
  // Where values are whole numbers (StatsReply and BrokerStats).
  std::string_view nanoseconds_name;
  std::string_view count_name;  // "": a counter has it
};
constexpr std::array histograms{
    HistogramDefinition{
        "store_write_seconds", "Time to write a group of events to the file store",
        [](const Snapshot& s) -> const metrics::LatencyHistogram& { return s.history.writes; },
        "store_write_nanoseconds_total", "store_writes_total"},
    HistogramDefinition{"store_sync_seconds", "Time to sync the file store",
                        [](const Snapshot& s) -> const metrics::LatencyHistogram& { return s.history.syncs; },
                        "store_sync_nanoseconds_total", ""},
};

template <class Each>
void for_each_rejected(const Snapshot& snapshot, const Each& each) {
  for (std::size_t reason = 1; reason < refusal_count; ++reason) {  // 0 is `none`
    each(name(static_cast<Refusal>(reason)), snapshot.counters.rejected_total[reason]);
  }
}

template <class Each>
void for_each_participants(const Snapshot& snapshot, const Each& each) {
  for (std::size_t role = 0; role < role_count; ++role) {
    each(name(static_cast<Role>(role)), std::string_view("up"), snapshot.participants.up[role]);
    each(name(static_cast<Role>(role)), std::string_view("down"), snapshot.participants.down[role]);
  }
}

Sample sample(const Snapshot& snapshot, std::uint64_t value) {
  return {{{"backplane", snapshot.name}}, static_cast<double>(value)};
}

Family family(std::string_view name, std::string_view help, Kind kind) {
  return {fmt::format("backplane_broker_{}", name), std::string(help), kind, {}};
}

}  // namespace

std::span<const FigureDefinition> figure_definitions() {
  return figures;
}

BackplaneSnapshot take_snapshot(const BackplaneState& state, const Participants& participants,
                                Snapshot::Clock::time_point now) {
  BackplaneSnapshot snapshot;
  snapshot.name = state.name;
  snapshot.taken = now;
  snapshot.counters = state.counters;
  snapshot.history = state.history->figures();
  // The store may have written events that are not published yet.
  const std::uint64_t published = state.published_position();
  snapshot.history.events -=
      std::min(snapshot.history.events, std::max(snapshot.history.through_position, published) - published);
  snapshot.history.written_events -= std::min(
      snapshot.history.written_events, std::max(snapshot.history.through_position, published) - published);
  snapshot.store = state.history->condition();
  snapshot.store_kind = state.store_kind;
  snapshot.store_sync = state.store_sync;
  snapshot.participants = participants.figures();
  snapshot.stream = state.stream;
  snapshot.position = published;
  snapshot.start_position = state.start_position;
  snapshot.missing_at_start = state.missing_at_start;
  snapshot.offsets_without_position = state.offsets_without_position;
  snapshot.started_ns = state.started_ns;
  snapshot.topics = state.topics.size();
  snapshot.topics_bytes = state.topics.memory_bytes();
  snapshot.sessions = state.sessions.size();
  snapshot.sessions_evicted = state.sessions.evicted();
  snapshot.draining = state.draining;
  snapshot.insecure = state.insecure;
  snapshot.policy_users = state.policy_users;
  snapshot.topics_max = state.topics_max;
  snapshot.sessions_max = state.sessions_max;
  snapshot.process = process_figures();
  snapshot.cluster = state.cluster;
  return snapshot;
}

std::vector<std::pair<std::string, std::uint64_t>> named_counters(const BackplaneSnapshot& snapshot) {
  std::vector<std::pair<std::string, std::uint64_t>> named;
  for (const CounterDefinition& counter : counter_definitions) {
    const bool in_seconds = !counter.nanoseconds_name.empty();
    named.emplace_back(in_seconds ? counter.nanoseconds_name : counter.name,
                       snapshot.counters.*counter.value);
  }
  for (const FigureDefinition& figure : figures) named.emplace_back(figure.name, figure.value(snapshot));
  for (const HistogramDefinition& histogram : histograms) {
    named.emplace_back(histogram.nanoseconds_name, histogram.value(snapshot).sum_ns());
    if (!histogram.count_name.empty())
      named.emplace_back(histogram.count_name, histogram.value(snapshot).count());
  }
  named.emplace_back(fmt::format("{}.{}{}{}", store_info_name, snapshot.store_kind,
                                 snapshot.store_sync.empty() ? "" : ".", snapshot.store_sync),
                     1);
  for_each_rejected(snapshot, [&](std::string_view reason, std::uint64_t value) {
    named.emplace_back(fmt::format("{}.{}", rejected_name, reason), value);
  });
  for_each_participants(snapshot, [&](std::string_view role, std::string_view state, std::uint64_t value) {
    named.emplace_back(fmt::format("{}.{}.{}", participants_name, role, state), value);
  });
  return named;
}

std::vector<Family> families(std::span<const BackplaneSnapshot> snapshots) {
  std::vector<Family> all;
  for (const CounterDefinition& counter : counter_definitions) {
    Family& out = all.emplace_back(family(counter.name, counter.help, Kind::counter));
    const double unit = counter.nanoseconds_name.empty() ? 1 : 1e9;
    for (const Snapshot& each : snapshots) {
      out.samples.push_back(sample(each, each.counters.*counter.value));
      out.samples.back().value /= unit;
    }
  }
  for (const FigureDefinition& figure : figures) {
    Family& out = all.emplace_back(family(figure.name, figure.help, figure.kind));
    for (const Snapshot& each : snapshots) out.samples.push_back(sample(each, figure.value(each)));
  }
  for (const HistogramDefinition& histogram : histograms) {
    Family& out = all.emplace_back(family(histogram.name, histogram.help, Kind::histogram));
    for (const Snapshot& each : snapshots) {
      out.samples.push_back(sample(each, 0));
      out.samples.back().histogram = histogram.value(each);
    }
  }
  Family& info = all.emplace_back(family(store_info_name, store_info_help, Kind::gauge));
  for (const Snapshot& each : snapshots) {
    info.samples.push_back(sample(each, 1));
    info.samples.back().labels.emplace_back("store", each.store_kind);
    info.samples.back().labels.emplace_back("sync", each.store_sync);
  }
  Family& rejected = all.emplace_back(family(rejected_name, rejected_help, Kind::counter));
  for (const Snapshot& each : snapshots) {
    for_each_rejected(each, [&](std::string_view reason, std::uint64_t value) {
      rejected.samples.push_back(sample(each, value));
      rejected.samples.back().labels.emplace_back("reason", reason);
    });
  }
  Family& participants = all.emplace_back(family(participants_name, participants_help, Kind::gauge));
  for (const Snapshot& each : snapshots) {
    for_each_participants(each, [&](std::string_view role, std::string_view state, std::uint64_t value) {
      participants.samples.push_back(sample(each, value));
      participants.samples.back().labels.emplace_back("role", role);
      participants.samples.back().labels.emplace_back("state", state);
    });
  }
  return all;
}

std::string expose_snapshots(std::span<const BackplaneSnapshot> snapshots) {
  return metrics::expose(families(snapshots));
}

bool is_stuck(const BackplaneSnapshot& snapshot, Snapshot::Clock::time_point now) {
  return snapshot.taken != Snapshot::Clock::time_point{} && now - snapshot.taken >= snapshot_age_max;
}

std::string not_ready_reason(const BackplaneSnapshot& snapshot, Snapshot::Clock::time_point now) {
  if (snapshot.taken == Snapshot::Clock::time_point{}) return "starting";
  if (snapshot.draining) return fmt::format("backplane \"{}\" is draining", snapshot.name);
  if (is_stuck(snapshot, now)) {
    const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - snapshot.taken);
    return fmt::format("the loop of backplane \"{}\" has been stuck for {} s", snapshot.name, age.count());
  }
  if (!snapshot.log_fault.empty()) {
    return fmt::format("the log of backplane \"{}\": {}", snapshot.name, snapshot.log_fault);
  }
  if (snapshot.store.health == HistoryStore::Health::good) return {};
  return fmt::format("the store of backplane \"{}\" {}: {}", snapshot.name,
                     snapshot.store.health == HistoryStore::Health::full ? "is full" : "has failed",
                     snapshot.store.text);
}

void SnapshotBoard::publish(BackplaneSnapshot snapshot) {
  const MutexLock lock(mutex_);
  std::swap(latest_, snapshot);  // the old one is freed after unlocking
}

BackplaneSnapshot SnapshotBoard::latest() const {
  const MutexLock lock(mutex_);
  return latest_;
}

}  // namespace backplane::broker
