#pragma once
// A broker's topics as a table.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cli/console/table.hpp"
#include "follower/control/broker_info.hpp"

namespace backplane::cli {

/// A list of topics, read at one moment.
struct TopicsReading {
  std::vector<TopicInfo> topics;
  bool all{};  ///< whether the list has every topic; else it was limited
  std::chrono::steady_clock::time_point taken{};
  std::int64_t unix_ns{};  ///< the same moment, for ages
};

enum class TopicOrder : std::uint8_t { name, rate, bytes, offset, age };
[[nodiscard]] std::optional<TopicOrder> parse_topic_order(std::string_view name) noexcept;

/// One topic, with its rates between two readings.
struct TopicRow {
  const TopicInfo* topic{};
  double events_per_second{};
  double bytes_per_second{};
  bool rate_known{};  ///< whether the previous reading had the topic, or every topic
};

/// The rows of `now` in this order, and equal rows by name. They point into `now`, which must outlive them.
[[nodiscard]] std::vector<TopicRow> topic_rows(const TopicsReading& now,
                                               const std::optional<TopicsReading>& before, TopicOrder order);

/// The sources seen on each topic.
using SourcesByTopic = std::map<std::string, std::set<std::string>, std::less<>>;

/// TOPIC RATE BYTES OFFSET AGE SOURCES, for the first `rows_max` rows.
[[nodiscard]] Table topics_table(const std::vector<TopicRow>& rows, const TopicsReading& now,
                                 const SourcesByTopic& sources, std::size_t rows_max);

/// One row as a JSON object on one line, for scripts.
[[nodiscard]] std::string topic_json(const TopicRow& row, const TopicsReading& now,
                                     const SourcesByTopic& sources);

}  // namespace backplane::cli
