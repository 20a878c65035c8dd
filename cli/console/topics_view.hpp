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

/// The topics as they were at one moment.
struct TopicsReading {
  std::vector<TopicInfo> topics;
  bool all{};  ///< else there are more than were asked for
  std::chrono::steady_clock::time_point taken{};
  std::int64_t unix_ns{};  ///< the same moment, for ages
};

enum class TopicOrder : std::uint8_t { name, rate, bytes, offset, age };
[[nodiscard]] std::optional<TopicOrder> parse_topic_order(std::string_view name) noexcept;

/// One topic, with what two readings say together.
struct TopicRow {
  const TopicInfo* topic{};
  double events_a_second{};
  double bytes_a_second{};
  bool rate_known{};  ///< it was there at the reading before
};

/// The rows of `now` in order; equal ones by name. The rows point into `now`, which outlives them.
[[nodiscard]] std::vector<TopicRow> topic_rows(const TopicsReading& now,
                                               const std::optional<TopicsReading>& before, TopicOrder order);

/// Who has published on a topic, as far as was seen: by topic.
using SourcesByTopic = std::map<std::string, std::set<std::string>, std::less<>>;

/// TOPIC RATE BYTES OFFSET AGE SOURCES, for the first `rows_max` rows.
[[nodiscard]] Table topics_table(const std::vector<TopicRow>& rows, const TopicsReading& now,
                                 const SourcesByTopic& sources, std::size_t rows_max);

/// One row as a JSON object on one line, for scripts.
[[nodiscard]] std::string topic_json(const TopicRow& row, const TopicsReading& now,
                                     const SourcesByTopic& sources);

}  // namespace backplane::cli
