#include "cli/console/balance_checks.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "cli/console/units.hpp"
#include "core/log/escape.hpp"

namespace backplane::cli {
namespace {

using Counters = std::map<std::string, std::uint64_t>;

/// What a participant has counted under `name` or `name.<reason>`, an entry each, by those names.
std::vector<BalanceCheck::Entry> entries(const Counters& counters, std::string_view name) {
  std::vector<BalanceCheck::Entry> found;
  for (auto at = counters.lower_bound(std::string(name)); at != counters.end(); ++at) {
    if (!at->first.starts_with(name)) break;
    const std::string_view rest = std::string_view(at->first).substr(name.size());
    if (rest.empty() || rest.front() == '.') found.push_back(*at);
  }
  return found;
}

/// `dropped_total.slow_consumer` as `dropped.slow_consumer`, `publish_received_total` as `publish_received`.
std::string shown_name(std::string name) {
  constexpr std::string_view total = "_total";
  if (const std::size_t at = name.find(total); at != std::string::npos) name.erase(at, total.size());
  return name;
}

/// `whole` against all the `parts` that are counted. Nothing where the whole is not counted.
void add_check(Account& account, const Counters& counters, const std::string& whole,
               std::initializer_list<std::string_view> parts) {
  const auto found = counters.find(whole);
  if (found == counters.end()) return;
  BalanceCheck check{{shown_name(whole), found->second}, {}, 0};
  for (const std::string_view part : parts) {
    for (const auto& [name, value] : entries(counters, part))
      check.parts.emplace_back(shown_name(name), value);
  }
  account.checks.push_back(std::move(check));
}

/// One whose rest waits for its answer: there can only be too much.
BalanceCheck open_check(BalanceCheck::Entry whole, std::vector<BalanceCheck::Entry> parts) {
  BalanceCheck check{std::move(whole), std::move(parts), 0};
  const std::int64_t waiting = check.difference();
  check.parts.emplace_back("waiting", waiting > 0 ? static_cast<std::uint64_t>(waiting) : 0);
  return check;
}

void note_losses(Account& account, const Counters& counters, const std::string& name, std::string_view text) {
  if (const std::uint64_t lost = counter_sum(counters, name); lost > 0) {
    account.notes.push_back(fmt::format("{} {}", grouped(lost), text));
  }
}

Account broker_account(const BrokerStats& stats, const TopicsTotal& topics) {
  const Counters& counters = stats.counters;
  const auto value = [&](const std::string& name) { return counter(counters, name); };
  const std::uint64_t published = value("published_total");
  const std::uint64_t position = value("position");
  Account account{"broker " + log::escape(stats.broker), {}, {}};
  account.checks.push_back({{"received", value("received_total")},
                            {{"published", published}, {"rejected", counter_sum(counters, "rejected_total")}},
                            0});
  account.checks.push_back({{"position", position},
                            {{"published", published}, {"the system's own", value("system_published_total")}},
                            0});
  account.checks.push_back({{"position", position},
                            {{"in history", value("history_events")},
                             {"expired", value("history_expired_events_total")},
                             {"evicted", value("history_evicted_events_total")},
                             {"refused by it", value("history_refused_total")}},
                            0});
  // The list is read while events come in: what came during that may be in it or not.
  account.checks.push_back({{"position", topics.last_position},
                            {{fmt::format("events of {}", counted(topics.topics, "topic")), topics.events}},
                            topics.last_position - topics.first_position});

  note_losses(account, counters, "lost_before_total", "events were lost before the broker");
  note_losses(account, counters, "lossy_sends_total",
              "times a subscriber that was full began to miss events (it sees which, by their offsets)");
  note_losses(account, counters, "control_unanswered_total",
              "replies found their askers gone, or not reading");
  return account;
}

Account gateway_account(const ParticipantInfo& who) {
  Account account{"gateway " + log::escape(who.name), {}, {}};
  add_check(account, who.counters, "matched_total",
            {"delivered_total", "conflated_total", "dropped_total", "skipped_total", "pending"});
  add_check(account, who.counters, "expected_total",
            {"seen_total", "recovered_total", "lost_total", "unwanted_total", "awaited"});
  add_check(account, who.counters, "publish_received_total",
            {"publish_admitted_total", "publish_refused_total", "publish_waiting"});
  if (account.checks.empty()) account.notes.emplace_back("it tells no figures that could be added up");
  note_losses(account, who.counters, "dropped_total.slow_consumer",
              "events were dropped, and announced, to clients too slow");
  note_losses(account, who.counters, "lost_total", "events were lost on the way to it, and announced");
  note_losses(account, who.counters, "undecodable_total", "messages were none that it can read");
  return account;
}

Account publisher_account(const ParticipantInfo& who) {
  Account account{"publisher " + log::escape(who.name), {}, {}};
  account.checks.push_back(open_check({"offered", counter(who.counters, "offered")},
                                      {{"dealt with", counter(who.counters, "confirmed")}}));
  note_losses(account, who.counters, "refused", "of its events were refused");
  return account;
}

}  // namespace

std::uint64_t counter(const std::map<std::string, std::uint64_t>& counters, const std::string& name) {
  const auto found = counters.find(name);
  return found == counters.end() ? 0 : found->second;
}

std::uint64_t counter_sum(const std::map<std::string, std::uint64_t>& counters, const std::string& name) {
  std::uint64_t sum = 0;
  for (const BalanceCheck::Entry& entry : entries(counters, name)) sum += entry.second;
  return sum;
}

std::int64_t BalanceCheck::difference() const {
  std::uint64_t sum = 0;
  for (const Entry& part : parts) sum += part.second;
  if (sum > whole.second) return -static_cast<std::int64_t>(sum - whole.second);
  const std::uint64_t missing = whole.second - sum;
  return missing <= slack ? 0 : static_cast<std::int64_t>(missing - slack);
}

std::string BalanceCheck::str() const {
  std::string text = fmt::format("{} {}", log::escape(whole.first), grouped(whole.second));
  for (const Entry& part : parts) {
    text += fmt::format(" {} {} {}", &part == &parts.front() ? '=' : '+', log::escape(part.first),
                        grouped(part.second));
  }
  if (parts.empty()) text += " = nothing";
  return text;
}

std::vector<Account> accounts(const BrokerStats& stats, const TopicsTotal& topics) {
  std::vector<Account> all{broker_account(stats, topics)};
  std::size_t down = 0;
  for (const ParticipantInfo& who : stats.participants) {
    if (!who.up) {
      ++down;
    } else if (who.role == ParticipantInfo::Role::gateway) {
      all.push_back(gateway_account(who));
    } else if (who.role == ParticipantInfo::Role::publisher) {
      all.push_back(publisher_account(who));
    }
  }
  if (down > 0) {
    all.front().notes.push_back(
        fmt::format("{} that said Hello and no longer do are left out", grouped(down)));
  }
  return all;
}

bool all_balance(const std::vector<Account>& accounts) {
  return std::all_of(accounts.begin(), accounts.end(), [](const Account& account) {
    return std::all_of(account.checks.begin(), account.checks.end(),
                       [](const BalanceCheck& check) { return check.balances(); });
  });
}

std::vector<std::string> report(const std::vector<Account>& accounts) {
  std::vector<std::string> lines;
  std::size_t books = 0;
  std::size_t wrong = 0;
  for (const Account& account : accounts) {
    lines.push_back(account.whose);
    for (const BalanceCheck& check : account.checks) {
      ++books;
      const std::int64_t difference = check.difference();
      if (difference != 0) ++wrong;
      lines.push_back(fmt::format("  {:<9} {}", difference == 0 ? "ok" : fmt::format("OFF BY {}", difference),
                                  check.str()));
    }
    for (const std::string& note : account.notes) lines.push_back("  note      " + note);
  }
  lines.push_back(wrong == 0 ? fmt::format("all {} books balance", books)
                             : fmt::format("{} of {} books do not balance", wrong, books));
  return lines;
}

}  // namespace backplane::cli
