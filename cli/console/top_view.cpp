#include "cli/console/top_view.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "cli/console/counters.hpp"
#include "cli/console/table.hpp"
#include "cli/console/units.hpp"
#include "core/log/escape.hpp"
#include "core/net/loopback.hpp"
#include "core/time/duration.hpp"

namespace backplane::cli {
namespace {

using Align = Column::Align;

/// A participant in this reading and, if it was there, in the previous one.
struct ParticipantReading {
  const ParticipantInfo* now{};
  const ParticipantInfo* before{};
  std::chrono::nanoseconds interval{};

  [[nodiscard]] std::uint64_t value(const std::string& name) const { return counter(now->counters, name); }
  [[nodiscard]] double rate_of(const std::string& name) const {
    return before == nullptr ? 0 : rate(value(name), counter(before->counters, name), interval);
  }
};

const BrokerReading* same_broker(const std::vector<BrokerReading>& before, const BrokerReading& now) {
  const auto found = std::find_if(before.begin(), before.end(), [&](const BrokerReading& each) {
    return each.endpoint == now.endpoint && each.stats.stream == now.stats.stream;
  });
  return found == before.end() ? nullptr : &*found;
}

/// The endpoint without tcp://.
std::string_view short_endpoint(std::string_view endpoint) {
  constexpr std::string_view tcp = "tcp://";
  if (endpoint.starts_with(tcp)) endpoint.remove_prefix(tcp.size());
  return endpoint;
}

enum class Kind : std::uint8_t { gateway, link, other };

Kind kind(const ParticipantInfo& participant) {
  if (participant.role == ParticipantInfo::Role::gateway) return Kind::gateway;
  return participant.counters.contains("link_lag_positions") ? Kind::link : Kind::other;
}

/// Those of a kind: those that are up, then those that are down, each in the order of the broker.
std::vector<ParticipantReading> participants(const std::vector<BrokerReading>& now,
                                             const std::vector<BrokerReading>& before, Kind of) {
  std::vector<ParticipantReading> all;
  for (const BrokerReading& broker : now) {
    const BrokerReading* const was = same_broker(before, broker);
    for (const ParticipantInfo& participant : broker.stats.participants) {
      if (kind(participant) != of) continue;
      ParticipantReading reading{&participant, nullptr, {}};
      if (was != nullptr) {
        reading.interval = broker.taken - was->taken;
        const auto& list = was->stats.participants;
        const auto found = std::find_if(list.begin(), list.end(), [&](const ParticipantInfo& each) {
          return each.name == participant.name && each.session == participant.session &&
                 each.role == participant.role;
        });
        if (found != list.end()) reading.before = &*found;
      }
      all.push_back(reading);
    }
  }
  std::stable_partition(all.begin(), all.end(), [](const ParticipantReading& each) { return each.now->up; });
  return all;
}

/// A part of the screen, which shows as many of its rows as fit.
struct Section {
  Table table;
  std::size_t rows_min;  ///< the rows that it gets before others get more
};

Table broker_table(const std::vector<BrokerReading>& now, const std::vector<BrokerReading>& before) {
  Table table({{"BROKER", Align::left, true, 10},
               {"IN/s", Align::right},
               {"BYTES/s", Align::right},
               {"REJECTED", Align::right},
               {"DROPS", Align::right},
               {"TOPICS", Align::right},
               {"SUBS", Align::right},
               {"HISTORY", Align::right},
               {"UP", Align::right}});
  for (const BrokerReading& broker : now) {
    if (broker.taken == std::chrono::steady_clock::time_point{}) continue;  // has never replied
    const Counters& counters = broker.stats.counters;
    const BrokerReading* const was = same_broker(before, broker);
    const auto rate_of = [&](const std::string& name) {
      if (was == nullptr) return 0.0;
      return rate(counter(counters, name), counter(was->stats.counters, name), broker.taken - was->taken);
    };
    const std::chrono::nanoseconds up{broker.topics.unix_ns - broker.stats.started_ns};
    table.add({fmt::format("{} {}", log::escape(broker.stats.broker), short_endpoint(broker.endpoint)),
               short_rate(rate_of("received_total")),
               short_bytes(static_cast<std::uint64_t>(rate_of("published_bytes_total"))),
               short_count(counter_sum(counters, "rejected_total")),
               short_count(counter(counters, "lossy_sends_total")), short_count(counter(counters, "topics")),
               short_count(counter(counters, "subscriptions")),
               short_bytes(counter(counters, "history_bytes")), short_age(up)});
  }
  return table;
}

/// Brokers with a store on disk.
Table store_table(const std::vector<BrokerReading>& now, const std::vector<BrokerReading>& before) {
  Table table({{"STORE", Align::left, true, 10},
               {"SYNC", Align::left},
               {"BYTES", Align::right},
               {"LIMIT", Align::right},
               {"SEGMENTS", Align::right},
               {"EVENTS", Align::right},
               {"OLDEST", Align::right},
               {"WRITTEN/s", Align::right},
               {"SYNC TIME", Align::right},
               {"QUEUE", Align::right},
               {"DAMAGE", Align::right},
               {"STATE", Align::left}});
  for (const BrokerReading& broker : now) {
    const Counters& counters = broker.stats.counters;
    constexpr std::string_view file_store = "store_info.file";
    const auto info = labelled_counters(counters, file_store);
    if (info.empty()) continue;
    const std::string sync =
        info.front().first.substr(std::min(file_store.size() + 1, info.front().first.size()));
    const BrokerReading* const was = same_broker(before, broker);
    const auto grown = [&](const std::string& name) {
      const std::uint64_t value = counter(counters, name);
      return value - std::min(value, was == nullptr ? 0 : counter(was->stats.counters, name));
    };
    const double written = was == nullptr ? 0
                                          : rate(counter(counters, "store_written_bytes_total"),
                                                 counter(was->stats.counters, "store_written_bytes_total"),
                                                 broker.taken - was->taken);
    const std::uint64_t syncs = grown("store_syncs_total");
    const std::string sync_time =
        syncs == 0 ? "-"
                   : fmt::format("{:.1f} ms", static_cast<double>(grown("store_sync_nanoseconds_total")) /
                                                  static_cast<double>(syncs) / 1e6);
    const auto oldest = static_cast<std::int64_t>(counter(counters, "store_oldest_seconds"));
    const std::chrono::nanoseconds age{broker.topics.unix_ns - oldest * 1'000'000'000};
    table.add({fmt::format("{} {}", log::escape(broker.stats.broker), short_endpoint(broker.endpoint)),
               log::escape(sync), short_bytes(counter(counters, "store_bytes")),
               short_bytes(counter(counters, "store_bytes_max")),
               short_count(counter(counters, "store_segments")),
               short_count(counter(counters, "history_events")), oldest == 0 ? "-" : short_age(age),
               short_bytes(static_cast<std::uint64_t>(written)), sync_time,
               short_bytes(counter(counters, "store_queued_bytes")),
               short_count(counter(counters, "store_damaged_ranges")),
               counter(counters, "store_full") > 0 ? "full" : "ok"});
  }
  return table;
}

std::string_view state(const ParticipantInfo& participant) {
  return participant.up ? "up" : "down";
}

Table gateway_table(const std::vector<ParticipantReading>& gateways) {
  Table table({{"GATEWAY", Align::left, true, 12},
               {"CLIENTS", Align::right},
               {"SUBS", Align::right},
               {"OUT/s", Align::right},
               {"OUT", Align::right},
               {"DROPS", Align::right},
               {"BACKLOG", Align::right},
               {"STATE", Align::left}});
  for (const ParticipantReading& each : gateways) {
    // A gateway that is down has no clients, whatever it reported last.
    const bool up = each.now->up;
    const auto gauge = [&](const std::string& name) { return up ? each.value(name) : 0; };
    table.add({log::escape(each.now->name), short_count(gauge("clients")),
               short_count(gauge("subscriptions")), short_rate(up ? each.rate_of("delivered_total") : 0),
               short_count(each.value("delivered_total")),
               short_count(counter(each.now->counters, "dropped_total.slow_consumer")),
               short_bytes(gauge("backlog_bytes")), std::string(state(*each.now))});
  }
  return table;
}

/// At the broker to which a link publishes, and at the one from which it reads.
Table link_table(const std::vector<ParticipantReading>& links) {
  Table table({{"LINK", Align::left, true, 12},
               {"DIRECTION", Align::left},
               {"EVENTS/s", Align::right},
               {"EVENTS", Align::right},
               {"LAG", Align::right},
               {"BEHIND", Align::right},
               {"LOST", Align::right},
               {"REFUSED", Align::right},
               {"STATE", Align::left}});
  for (const ParticipantReading& each : links) {
    const bool up = each.now->up;
    const std::chrono::milliseconds behind{each.value("link_behind_milliseconds")};
    table.add({log::escape(each.now->name), each.now->role == ParticipantInfo::Role::publisher ? "in" : "out",
               short_rate(up ? each.rate_of("link_passed_total") : 0),
               short_count(each.value("link_passed_total")),
               up ? short_count(each.value("link_lag_positions")) : "-",
               up && behind.count() > 0 ? short_age(behind) : "-", short_count(each.value("link_lost_total")),
               short_count(each.value("link_refused_total")), std::string(state(*each.now))});
  }
  return table;
}

std::string_view role_name(ParticipantInfo::Role role) {
  switch (role) {
    case ParticipantInfo::Role::publisher:
      return "publisher";
    case ParticipantInfo::Role::gateway:
      return "gateway";
    case ParticipantInfo::Role::client:
      return "client";
    case ParticipantInfo::Role::unspecified:
      break;
  }
  return "-";
}

Table others_table(const std::vector<ParticipantReading>& others) {
  Table table({{"PUBLISHER OR CLIENT", Align::left, true, 20},
               {"ROLE", Align::left},
               {"EVENTS/s", Align::right},
               {"EVENTS", Align::right},
               {"WAITING", Align::right},
               {"REFUSED", Align::right},
               {"STATE", Align::left}});
  for (const ParticipantReading& each : others) {
    const bool publishes = each.now->counters.contains("offered");
    const std::string events = publishes ? "offered" : "given";
    const std::uint64_t offered = each.value("offered");
    table.add({log::escape(each.now->name), std::string(role_name(each.now->role)),
               short_rate(each.now->up ? each.rate_of(events) : 0), short_count(each.value(events)),
               publishes ? short_count(offered - std::min(offered, each.value("confirmed"))) : "-",
               publishes ? short_count(each.value("refused")) : "-", std::string(state(*each.now))});
  }
  return table;
}

/// A topic of one broker, with its age by that broker's clock.
struct BusyTopic {
  TopicRow row;
  std::chrono::nanoseconds age{};
};

Table topic_table(const std::vector<BrokerReading>& now, const std::vector<BrokerReading>& before,
                  std::size_t rows_max) {
  std::vector<BusyTopic> busy;
  bool all = true;
  for (const BrokerReading& broker : now) {
    const BrokerReading* const was = same_broker(before, broker);
    std::optional<TopicsReading> topics_before;
    if (was != nullptr) topics_before = was->topics;
    for (const TopicRow& row : topic_rows(broker.topics, topics_before, TopicOrder::age)) {
      busy.push_back({row, std::chrono::nanoseconds{broker.topics.unix_ns - row.topic->received_ns}});
    }
    all = all && (broker.topics.all || broker.topics.topics.empty());
  }
  // Topics with the same rate are sorted by the age of their last event.
  const auto busier = [](const BusyTopic& a, const BusyTopic& b) {
    if (a.row.events_per_second != b.row.events_per_second)
      return a.row.events_per_second > b.row.events_per_second;
    return a.age < b.age;
  };
  const auto shown = static_cast<std::ptrdiff_t>(std::min(rows_max, busy.size()));
  std::partial_sort(busy.begin(), busy.begin() + shown, busy.end(), busier);
  busy.resize(static_cast<std::size_t>(shown));
  Table table({{all ? "BUSIEST TOPICS" : "BUSIEST TOPICS OF THE FIRST", Align::left, true, 20},
               {"RATE/s", Align::right},
               {"BYTES/s", Align::right},
               {"EVENTS", Align::right},
               {"BYTES", Align::right},
               {"AGE", Align::right}});
  for (const BusyTopic& each : busy) {
    const TopicInfo& topic = *each.row.topic;
    table.add({log::escape(topic.name), short_rate(each.row.events_per_second),
               short_bytes(static_cast<std::uint64_t>(each.row.bytes_per_second)), short_count(topic.events),
               short_bytes(topic.bytes), short_age(each.age)});
  }
  return table;
}

/// Divides `room` rows among the sections. Each gets its minimum first; the rest goes to the last section
/// (the topics, which are the most), then to the one before, and so on.
std::vector<std::size_t> share_out(const std::vector<Section>& sections, std::size_t room) {
  std::vector<std::size_t> rows(sections.size());
  const auto give = [&](std::size_t section, std::size_t upto) {
    const std::size_t more = std::min(room, std::min(upto, sections[section].table.rows()) - rows[section]);
    rows[section] += more;
    room -= more;
  };
  for (std::size_t at = 0; at < sections.size(); ++at) give(at, sections[at].rows_min);
  for (std::size_t at = sections.size(); at-- > 0;) give(at, sections[at].table.rows());
  return rows;
}

/// The brokers and gateways that say that they run with --insecure: a line for each thing that it can mean.
std::vector<std::string> insecure(const std::vector<BrokerReading>& now) {
  std::array<std::pair<std::string_view, std::vector<std::string>>, 3> notes{
      {{insecure_note, {}}, {insecure_metrics_note, {}}, {insecure_plaintext_note, {}}}};
  const auto add = [&](std::string_view note, std::string_view who) {
    auto& names = std::find_if(notes.begin(), notes.end(), [&](const auto& each) {
                    return each.first == note;
                  })->second;
    std::string name = log::escape(who);
    // A gateway reports to each broker that it follows.
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
  };
  for (const BrokerReading& broker : now) {
    const auto& counters = broker.stats.counters;
    if (counter(counters, "insecure") != 0)
      add(counter(counters, "policy_users") == 0 ? insecure_note : insecure_metrics_note,
          broker.stats.broker);
    for (const ParticipantInfo& participant : broker.stats.participants) {
      if (!participant.up || counter(participant.counters, "insecure") == 0) continue;
      add(counter(participant.counters, "policy") == 0 ? insecure_note : insecure_plaintext_note,
          participant.name);
    }
  }
  std::vector<std::string> lines;
  for (const auto& [note, names] : notes) {
    if (!names.empty()) lines.push_back(fmt::format("{}: {}", note, fmt::join(names, ", ")));
  }
  return lines;
}

std::string title(const std::vector<BrokerReading>& now, std::chrono::nanoseconds interval) {
  std::array<std::size_t, 4> up{};
  for (const BrokerReading& broker : now) {
    for (const ParticipantInfo& participant : broker.stats.participants) {
      if (participant.up) ++up.at(static_cast<std::size_t>(participant.role));
    }
  }
  const auto of = [&](ParticipantInfo::Role role) { return up.at(static_cast<std::size_t>(role)); };
  return fmt::format("backplane top   {}, {}, {} up   every {}, q quits",
                     counted(of(ParticipantInfo::Role::publisher), "publisher"),
                     counted(of(ParticipantInfo::Role::gateway), "gateway"),
                     counted(of(ParticipantInfo::Role::client), "client"), format_duration(interval));
}

}  // namespace

std::vector<ScreenLine> top_picture(const std::vector<BrokerReading>& now,
                                    const std::vector<BrokerReading>& before, ScreenSize size,
                                    std::chrono::nanoseconds interval) {
  using Style = ScreenLine::Style;
  std::vector<ScreenLine> lines{{title(now, interval), Style::plain}};
  for (std::string& note : insecure(now)) lines.push_back({std::move(note), Style::alarm});
  for (const BrokerReading& broker : now) {
    if (!broker.problem.empty()) lines.push_back({log::escape(broker.problem), Style::alarm});
  }
  std::vector<Section> sections;
  sections.push_back({broker_table(now, before), 3});
  sections.push_back({store_table(now, before), 3});
  sections.push_back({gateway_table(participants(now, before, Kind::gateway)), 3});
  sections.push_back({link_table(participants(now, before, Kind::link)), 3});
  sections.push_back({others_table(participants(now, before, Kind::other)), 4});
  sections.push_back({topic_table(now, before, size.rows), 0});
  std::erase_if(sections, [](const Section& section) { return section.table.rows() == 0; });

  // Each section has a line of titles and, if there is room, an empty line before it.
  const bool roomy = size.rows >= 24;
  const std::size_t around = lines.size() + sections.size() * (roomy ? 2 : 1);
  const auto rows = share_out(sections, size.rows > around ? size.rows - around : 0);
  for (std::size_t at = 0; at < sections.size(); ++at) {
    if (roomy) lines.push_back({});
    const std::vector<std::string> text = sections[at].table.lines(size.columns);
    lines.push_back({text.front(), Style::heading});
    for (std::size_t row = 1; row <= rows[at]; ++row) lines.push_back({text[row], Style::plain});
    const std::size_t left_out = sections[at].table.rows() - rows[at];
    // Not for the last section: it shows only the busiest topics anyway.
    if (left_out > 0 && rows[at] > 0 && at + 1 < sections.size()) {
      lines.back() = {fmt::format("… and {} more", left_out + 1), Style::plain};
    }
  }
  if (lines.size() > size.rows) lines.resize(size.rows);
  return lines;
}

}  // namespace backplane::cli
