#include "cli/console/topics_view.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "cli/console/units.hpp"
#include "core/log/escape.hpp"
#include "core/payload/text.hpp"
#include "core/time/duration.hpp"

namespace backplane::cli {
namespace {

constexpr std::array<std::pair<std::string_view, TopicOrder>, 5> orders{{{"name", TopicOrder::name},
                                                                         {"rate", TopicOrder::rate},
                                                                         {"bytes", TopicOrder::bytes},
                                                                         {"offset", TopicOrder::offset},
                                                                         {"age", TopicOrder::age}}};

/// Whether `a` is before `b` in this order, names aside.
bool before_in(TopicOrder order, const TopicRow& a, const TopicRow& b) {
  switch (order) {
    case TopicOrder::rate:
      return a.events_per_second > b.events_per_second;
    case TopicOrder::bytes:
      return a.topic->bytes > b.topic->bytes;
    case TopicOrder::offset:
      return a.topic->offset > b.topic->offset;
    case TopicOrder::age:
      return a.topic->received_ns > b.topic->received_ns;
    case TopicOrder::name:
      break;
  }
  return false;
}

/// `clock@host7`, `clock@host7 +2`, or `-`.
std::string shown_sources(const SourcesByTopic& sources, const std::string& topic) {
  const auto found = sources.find(topic);
  if (found == sources.end() || found->second.empty()) return "-";
  const std::string first = log::escape(*found->second.begin());
  return found->second.size() == 1 ? first : fmt::format("{} +{}", first, found->second.size() - 1);
}

}  // namespace

std::optional<TopicOrder> parse_topic_order(std::string_view name) noexcept {
  const auto found =
      std::find_if(orders.begin(), orders.end(), [&](const auto& each) { return each.first == name; });
  if (found == orders.end()) return std::nullopt;
  return found->second;
}

std::vector<TopicRow> topic_rows(const TopicsReading& now, const std::optional<TopicsReading>& before,
                                 TopicOrder order) {
  std::vector<TopicRow> rows;
  rows.reserve(now.topics.size());
  const auto interval = before ? now.taken - before->taken : std::chrono::steady_clock::duration{0};
  for (const TopicInfo& topic : now.topics) {
    TopicRow row{&topic, 0, 0, false};
    if (before) {
      // Brokers list topics in the order of their names.
      const auto was =
          std::lower_bound(before->topics.begin(), before->topics.end(), topic.name,
                           [](const TopicInfo& each, const std::string& name) { return each.name < name; });
      const bool known = was != before->topics.end() && was->name == topic.name;
      row.rate_known = known || before->all;  // a new topic has had all its events since
      row.events_per_second = rate(topic.events, known ? was->events : 0, interval);
      row.bytes_per_second = rate(topic.bytes, known ? was->bytes : 0, interval);
      if (!row.rate_known) row.events_per_second = row.bytes_per_second = 0;
    }
    rows.push_back(row);
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [&](const TopicRow& a, const TopicRow& b) { return before_in(order, a, b); });
  return rows;
}

Table topics_table(const std::vector<TopicRow>& rows, const TopicsReading& now, const SourcesByTopic& sources,
                   std::size_t rows_max) {
  using Align = Column::Align;
  Table table({{"TOPIC", Align::left, true, 12},
               {"RATE/s", Align::right},
               {"BYTES/s", Align::right},
               {"BYTES", Align::right},
               {"OFFSET", Align::right},
               {"HISTORY", Align::right},
               {"AGE", Align::right},
               {"SOURCES", Align::left, true, 8}});
  for (const TopicRow& row : rows) {
    if (table.rows() == rows_max) break;
    const TopicInfo& topic = *row.topic;
    const std::chrono::nanoseconds age{now.unix_ns - topic.received_ns};
    table.add({log::escape(topic.name), row.rate_known ? short_rate(row.events_per_second) : "-",
               row.rate_known ? short_bytes(static_cast<std::uint64_t>(row.bytes_per_second)) : "-",
               short_bytes(topic.bytes), fmt::format("{}", topic.offset), short_count(topic.history_events),
               topic.received_ns == 0 ? "-" : short_age(age), shown_sources(sources, topic.name)});
  }
  return table;
}

std::string topic_json(const TopicRow& row, const TopicsReading& now, const SourcesByTopic& sources) {
  const TopicInfo& topic = *row.topic;
  std::string out = "{\"topic\":";
  append_json_string(topic.name, out);
  out += fmt::format(
      ",\"events_per_second\":{:.3f},\"bytes_per_second\":{:.3f},\"events\":{},\"bytes\":{},\"offset\":{},"
      "\"position\":{},\"value_bytes\":{},\"history_events\":{},\"received\":",
      row.events_per_second, row.bytes_per_second, topic.events, topic.bytes, topic.offset, topic.position,
      topic.value_bytes, topic.history_events);
  append_json_string(format_time(topic.received_ns), out);
  out += fmt::format(
      ",\"age_seconds\":{:.3f},\"sources\":[",
      std::chrono::duration<double>(std::chrono::nanoseconds{now.unix_ns - topic.received_ns}).count());
  if (const auto found = sources.find(topic.name); found != sources.end()) {
    for (const std::string& source : found->second) {
      if (out.back() != '[') out += ',';
      append_json_string(source, out);
    }
  }
  return out + "]}";
}

}  // namespace backplane::cli
