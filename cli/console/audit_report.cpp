#include "cli/console/audit_report.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "cli/console/counters.hpp"
#include "cli/console/units.hpp"
#include "core/log/escape.hpp"

namespace backplane::cli {
namespace {

/// The name without `_total`: `dropped_total.slow_consumer` becomes `dropped.slow_consumer`.
std::string short_name(std::string name) {
  constexpr std::string_view total = "_total";
  if (const std::size_t at = name.find(total); at != std::string::npos) name.erase(at, total.size());
  return name;
}

/// Adds the equation of `whole` and those of its `parts` that are counted, if `whole` is counted.
void add_equation(Ledger& ledger, const Counters& counters, const std::string& whole,
                  std::initializer_list<std::string_view> parts) {
  const auto found = counters.find(whole);
  if (found == counters.end()) return;
  Equation equation{{short_name(whole), found->second}, {}, 0};
  for (const std::string_view part : parts) {
    for (const auto& [name, value] : labelled_counters(counters, part))
      equation.parts.emplace_back(short_name(name), value);
  }
  ledger.equations.push_back(std::move(equation));
}

/// An equation whose difference is waiting. It fails only if the parts exceed the whole.
Equation equation_with_waiting(Equation::Term whole, std::vector<Equation::Term> parts) {
  Equation equation{std::move(whole), std::move(parts), 0};
  const std::int64_t waiting = equation.difference();
  equation.parts.emplace_back("waiting", waiting > 0 ? static_cast<std::uint64_t>(waiting) : 0);
  return equation;
}

void note_losses(Ledger& ledger, const Counters& counters, const std::string& name, std::string_view text) {
  if (const std::uint64_t lost = counter_sum(counters, name); lost > 0) {
    ledger.notes.push_back(fmt::format("{} {}", grouped(lost), text));
  }
}

Ledger broker_ledger(const BrokerStats& stats, const TopicsTotal& topics) {
  const Counters& counters = stats.counters;
  const auto value = [&](const std::string& name) { return counter(counters, name); };
  const std::uint64_t published = value("published_total");
  const std::uint64_t position = value("position");
  Ledger ledger{"broker " + log::escape(stats.broker), {}, {}};
  ledger.equations.push_back(
      {{"received", value("received_total")},
       {{"published", published}, {"rejected", counter_sum(counters, "rejected_total")}},
       0});
  const std::uint64_t before = value("start_position");
  std::vector<Equation::Term> positions{{"published", published},
                                        {"system", value("system_published_total")}};
  std::vector<Equation::Term> stored{{"in history", value("history_events")},
                                     {"expired", value("history_expired_events_total")},
                                     {"evicted", value("history_evicted_events_total")},
                                     {"refused by history", value("history_refused_total")}};
  if (before > 0) {
    positions.emplace_back("before the restart", before);
    stored.emplace_back("removed before the restart", value("history_missing_at_start"));
  }
  ledger.equations.push_back({{"position", position}, std::move(positions), 0});
  ledger.equations.push_back({{"position", position}, std::move(stored), 0});
  // The store on disk counts what it writes.
  if (!labelled_counters(counters, "store_info.file").empty()) {
    std::vector<Equation::Term> written{{"written to the store", value("store_written_events_total")},
                                        {"refused by history", value("history_refused_total")}};
    if (before > 0) written.emplace_back("before the restart", before);
    ledger.equations.push_back({{"position", position}, std::move(written), 0});
  }
  // Events that arrive while the list is read may be in it or not.
  // Several events that were lost before they reached the broker have one position.
  const std::uint64_t lost = value("offsets_without_position");
  ledger.equations.push_back(
      {{lost == 0 ? "position" : "position with lost events", topics.last_position + lost},
       {{fmt::format("events of {}", counted(topics.topics, "topic")), topics.events}},
       topics.last_position - topics.first_position});

  note_losses(ledger, counters, "store_damaged_ranges",
              "places in the store's files could not be read: see docs/durability.md");
  note_losses(ledger, counters, "lost_before_total", "events were lost before they reached the broker");
  note_losses(ledger, counters, "lossy_sends_total",
              "times a full subscriber began to miss events, which it detects by their offsets");
  note_losses(ledger, counters, "control_replies_dropped_total",
              "replies were not delivered, because the client had gone or did not read");
  return ledger;
}

Ledger gateway_ledger(const ParticipantInfo& participant) {
  Ledger ledger{"gateway " + log::escape(participant.name), {}, {}};
  add_equation(ledger, participant.counters, "matched_total",
               {"delivered_total", "conflated_total", "dropped_total", "skipped_total", "pending"});
  add_equation(ledger, participant.counters, "expected_total",
               {"seen_total", "recovered_total", "lost_total", "unwanted_total", "awaited"});
  add_equation(ledger, participant.counters, "publish_received_total",
               {"publish_admitted_total", "publish_refused_total", "publish_waiting"});
  if (ledger.equations.empty()) ledger.notes.emplace_back("reports no counters");
  note_losses(ledger, participant.counters, "dropped_total.slow_consumer",
              "events were dropped, and announced, because clients were too slow");
  note_losses(ledger, participant.counters, "lost_total",
              "events were lost between broker and gateway, and announced");
  note_losses(ledger, participant.counters, "undecodable_total", "messages could not be decoded");
  return ledger;
}

void add_publisher(Ledger& ledger, const ParticipantInfo& participant) {
  ledger.equations.push_back(
      equation_with_waiting({"offered", counter(participant.counters, "offered")},
                            {{"confirmed", counter(participant.counters, "confirmed")}}));
  note_losses(ledger, participant.counters, "refused", "of its events were refused");
}

}  // namespace

std::int64_t Equation::difference() const {
  std::uint64_t sum = 0;
  for (const Term& part : parts) sum += part.second;
  if (sum > whole.second) return -static_cast<std::int64_t>(sum - whole.second);
  const std::uint64_t missing = whole.second - sum;
  return missing <= slack ? 0 : static_cast<std::int64_t>(missing - slack);
}

std::string Equation::str() const {
  std::string text = fmt::format("{} {}", log::escape(whole.first), grouped(whole.second));
  for (const Term& part : parts) {
    text += fmt::format(" {} {} {}", &part == &parts.front() ? '=' : '+', log::escape(part.first),
                        grouped(part.second));
  }
  if (parts.empty()) text += " = 0";
  return text;
}

std::vector<Ledger> ledgers(const BrokerStats& stats, const TopicsTotal& topics) {
  std::vector<Ledger> all{broker_ledger(stats, topics)};
  std::size_t down = 0;
  // A gateway publishes for its clients under its own name. It is one program, and has one ledger.
  std::multimap<std::string_view, std::size_t> gateways;  // those without a publisher so far
  for (const ParticipantInfo& participant : stats.participants) {
    // Clients have no ledger: one that is down is missed nowhere.
    if (!participant.up && participant.role != ParticipantInfo::Role::client) ++down;
    if (!participant.up || participant.role != ParticipantInfo::Role::gateway) continue;
    gateways.emplace(participant.name, all.size());
    all.push_back(gateway_ledger(participant));
  }
  for (const ParticipantInfo& participant : stats.participants) {
    if (!participant.up || participant.role != ParticipantInfo::Role::publisher) continue;
    if (const auto gateway = gateways.find(participant.name); gateway != gateways.end()) {
      add_publisher(all[gateway->second], participant);
      gateways.erase(gateway);
      continue;
    }
    all.push_back({"publisher " + log::escape(participant.name), {}, {}});
    add_publisher(all.back(), participant);
  }
  if (down > 0) {
    all.front().notes.push_back(fmt::format("{} down, not checked", counted(down, "participant")));
  }
  return all;
}

bool all_balance(const std::vector<Ledger>& ledgers) {
  return std::all_of(ledgers.begin(), ledgers.end(), [](const Ledger& ledger) {
    return std::all_of(ledger.equations.begin(), ledger.equations.end(),
                       [](const Equation& equation) { return equation.balances(); });
  });
}

std::vector<std::string> report(const std::vector<Ledger>& ledgers) {
  std::vector<std::string> lines;
  std::size_t count = 0;
  std::size_t wrong = 0;
  for (const Ledger& ledger : ledgers) {
    lines.push_back(ledger.name);
    for (const Equation& equation : ledger.equations) {
      ++count;
      const std::int64_t difference = equation.difference();
      if (difference != 0) ++wrong;
      lines.push_back(fmt::format("  {:<9} {}", difference == 0 ? "ok" : fmt::format("OFF BY {}", difference),
                                  equation.str()));
    }
    for (const std::string& note : ledger.notes) lines.push_back("  note      " + note);
  }
  lines.push_back(wrong == 0 ? fmt::format("all {} equations balance", count)
                             : fmt::format("{} of {} equations do not balance", wrong, count));
  return lines;
}

}  // namespace backplane::cli
