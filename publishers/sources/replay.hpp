#pragma once
// Plays the records of a CSV file as events, at an even rate.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "publishers/sources/runner.hpp"
#include "publishers/sources/sources.hpp"

namespace backplane::sources {

/// An event made of a record.
struct ReplayedEvent {
  std::string topic;
  std::unique_ptr<google::protobuf::Message> message;
};

/// Makes an event of the wanted columns' values; `where` is file:line and begins the error.
using MakeEvent =
    std::function<Result<ReplayedEvent>(std::span<const std::string> values, std::string_view where)>;

/// Why the options cannot be played: the rate, a file that is not there, a column that is missing in its
/// first line. @returns, where they can, the index of each wanted column.
[[nodiscard]] Result<std::vector<std::size_t>> check_replay(const ReplayOptions& replay,
                                                            std::span<const std::string_view> columns);

/// Plays the file, again and again unless it is to be once. Records that cannot be used are reported by
/// file:line. Returns when the runner's source is to end.
[[nodiscard]] ExitCode replay_csv(Runner& runner, const ReplayOptions& replay,
                                  std::span<const std::string_view> columns, const MakeEvent& make_event);

/// A finite number that is the whole of `text`.
[[nodiscard]] Result<double> parse_number(std::string_view text, std::string_view where);

}  // namespace backplane::sources
