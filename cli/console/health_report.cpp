#include "cli/console/health_report.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "cli/console/units.hpp"
#include "core/log/escape.hpp"
#include "core/payload/text.hpp"

namespace backplane::cli {
namespace {

using State = Check::State;

/// How far the newest figures of a broker with the same clock may be from now: they are not from the future,
/// and are published every 5 s, if the configuration says nothing else.
constexpr std::chrono::nanoseconds ahead_max = std::chrono::seconds{1};
constexpr std::chrono::nanoseconds behind_max = std::chrono::seconds{30};
/// From this part of a limit on, it is time to do something.
constexpr std::uint64_t nearly_full_percent = 80;

std::string_view word(State state) {
  switch (state) {
    case State::ok:
      return "ok";
    case State::note:
      return "note";
    case State::warning:
      return "WARNING";
    case State::failed:
      return "FAILED";
  }
  return "";
}

std::string_view code(State state) {
  switch (state) {
    case State::ok:
      return "ok";
    case State::note:
      return "note";
    case State::warning:
      return "warning";
    case State::failed:
      return "failed";
  }
  return "";
}

std::uint64_t percent_of(std::uint64_t part, std::uint64_t whole) {
  constexpr double hundred = 100;
  return whole == 0
             ? 0
             : static_cast<std::uint64_t>(hundred * static_cast<double>(part) / static_cast<double>(whole));
}

/// Counters by name; 0 if the broker does not report one.
class Counters {
 public:
  explicit Counters(const BrokerStats& stats) : stats_(stats) {}
  [[nodiscard]] std::uint64_t operator[](const std::string& name) const {
    const auto found = stats_.counters.find(name);
    return found == stats_.counters.end() ? 0 : found->second;
  }
  /// The sum of those whose names begin with `prefix`.
  [[nodiscard]] std::uint64_t sum(std::string_view prefix, std::string_view without = "") const {
    std::uint64_t all = 0;
    for (const auto& [name, value] : stats_.counters) {
      if (name.starts_with(prefix) && name != without) all += value;
    }
    return all;
  }

 private:
  const BrokerStats& stats_;
};

/// Compares a figure with its limit, if both are known.
void check_limit(std::string_view name, std::uint64_t used, std::uint64_t limit,
                 std::string (*show)(std::uint64_t), std::string_view advice, Examination& examination) {
  if (limit == 0) return;
  const std::uint64_t percent = percent_of(used, limit);
  const bool nearly_full = percent >= nearly_full_percent;
  std::string text = fmt::format("{} of {} ({} %)", show(used), show(limit), percent);
  if (nearly_full) text += fmt::format("; {}", advice);
  examination.add(nearly_full ? State::warning : State::ok, std::string(name), std::move(text));
}

void check_store(const Counters& counters, Examination& examination) {
  if (counters["store_bytes_max"] == 0) return;
  if (counters["store_full"] > 0) {
    examination.add(State::failed, "store", "the disk is full: publishers wait");
  } else if (counters["store_damaged_ranges"] > 0) {
    examination.add(State::failed, "store",
                    fmt::format("{} could not be read (backplane store verify)",
                                counted(counters["store_damaged_ranges"], "place")));
  } else {
    check_limit("store", counters["store_bytes"], counters["store_bytes_max"], short_bytes,
                "the oldest events are removed at the limit (store_bytes_max)", examination);
  }
}

void check_losses(const Counters& counters, Examination& examination) {
  struct Loss {
    std::uint64_t number;
    std::string_view thing;
    std::string_view what;
  };
  // A repeat is no loss: the broker had the event.
  const std::vector<Loss> losses{
      {counters.sum("rejected_total.", "rejected_total.repeat"), "event", "refused (rejected_total)"},
      {counters["lost_before_total"], "event", "lost before the broker (lost_before_total)"},
      {counters["lossy_sends_total"], "time", "that a subscriber was too slow (lossy_sends_total)"},
      {counters["history_evicted_events_total"], "event", "evicted from history at history_bytes_max"},
      {counters["log_lines_dropped_total"], "log line", "dropped (log_lines_dropped_total)"}};
  const std::size_t before = examination.checks.size();
  for (const Loss& loss : losses) {
    if (loss.number == 0) continue;
    examination.add(State::note, "losses", fmt::format("{} {}", counted(loss.number, loss.thing), loss.what));
  }
  if (examination.checks.size() == before) examination.add(State::ok, "losses", "none since it started");
}

}  // namespace

bool Examination::has(Check::State state) const {
  return std::any_of(checks.begin(), checks.end(), [&](const Check& each) { return each.state == state; });
}

void check_identity(const BrokerIdentity& identity, std::string_view own_version, Examination& examination) {
  const bool same = identity.version == own_version;
  examination.add(
      same ? State::ok : State::warning, "version",
      same ? identity.version
           : fmt::format("{}, but this program is {}", log::escape(identity.version), own_version));
  if (identity.draining) {
    examination.add(State::warning, "state", "draining: it stops as soon as everything is delivered");
  }
}

void check_clock(std::int64_t newest_ns, std::int64_t now_ns, Examination& examination) {
  const std::chrono::nanoseconds age{now_ns - newest_ns};
  if (age < -ahead_max) {
    return examination.add(State::warning, "clock",
                           fmt::format("at least {} ahead of this machine's", short_age(-age)));
  }
  if (age > behind_max) {
    return examination.add(
        State::warning, "clock",
        fmt::format("{} behind this machine's, or the broker no longer publishes its figures (stats_every)",
                    short_age(age)));
  }
  examination.add(
      State::ok, "clock",
      fmt::format("as this machine's, as far as its figures show, which are {} old", short_age(age)));
}

void check_stats(const BrokerStats& stats, Examination& examination) {
  const Counters counters(stats);
  const auto number = [](std::uint64_t value) { return grouped(value); };
  check_limit("topics", counters["topics"], counters["topics_max"], number,
              "above it, events of new topics are refused (max_topics)", examination);
  check_limit(
      "sessions", counters["sessions"], counters["sessions_max"], number,
      "above it, the oldest sessions are forgotten, and their duplicates no longer detected (max_sessions)",
      examination);
  check_limit("memory", counters["memory_bytes"], counters["memory_bytes_max"], short_bytes,
              "the kernel kills the broker at the limit", examination);
  check_limit("files", counters["open_files"], counters["open_files_max"], number,
              "new connections are refused at the limit (ulimit -Hn, LimitNOFILE)", examination);
  if (const std::uint64_t refused = counters["connections_refused_total"]; refused > 0) {
    examination.add(State::warning, "files",
                    fmt::format("{} refused at the limit of open files", counted(refused, "connection")));
  }
  check_store(counters, examination);
  check_losses(counters, examination);
  if (counters["insecure"] > 0) {
    examination.add(State::warning, "access",
                    "other machines are served without authentication (--insecure)");
  }
  std::size_t gateways_down = 0;
  for (const ParticipantInfo& each : stats.participants) {
    if (each.role == ParticipantInfo::Role::gateway && !each.up) ++gateways_down;
  }
  if (gateways_down > 0) {
    examination.add(State::warning, "gateways", fmt::format("{} down", counted(gateways_down, "gateway")));
  }
}

std::vector<std::string> health_text(const std::vector<Examination>& all) {
  std::vector<std::string> lines;
  std::size_t warnings = 0;
  std::size_t failures = 0;
  for (const Examination& examination : all) {
    lines.push_back(log::escape(examination.subject));
    for (const Check& check : examination.checks) {
      warnings += check.state == State::warning ? 1 : 0;
      failures += check.state == State::failed ? 1 : 0;
      lines.push_back(
          fmt::format("  {:<8} {:<11} {}", word(check.state), check.name, log::escape(check.text)));
    }
  }
  lines.push_back(failures + warnings == 0
                      ? "no problems found"
                      : fmt::format("{}, {}", counted(failures, "failure"), counted(warnings, "warning")));
  return lines;
}

std::vector<std::string> health_json(const std::vector<Examination>& all) {
  std::vector<std::string> lines;
  for (const Examination& examination : all) {
    for (const Check& check : examination.checks) {
      std::string& line = lines.emplace_back("{\"subject\":");
      append_json_string(examination.subject, line);
      line += fmt::format(",\"check\":\"{}\",\"state\":\"{}\",\"text\":", check.name, code(check.state));
      append_json_string(check.text, line);
      line += '}';
    }
  }
  return lines;
}

}  // namespace backplane::cli
