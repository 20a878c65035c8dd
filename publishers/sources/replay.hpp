#pragma once
// Plays the records of a file as events, at an even rate or at the pace of their own time.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "publishers/sources/mapping.hpp"
#include "publishers/sources/record_reader.hpp"
#include "publishers/sources/runner.hpp"
#include "publishers/sources/sources.hpp"

namespace backplane::sources {

/// What a source makes of records.
struct ReplayPlan {
  std::string type;              ///< "": each record's JSON as text
  std::vector<FieldRule> rules;  ///< see Mapping
  /// The field of the type (the column, where there is none) that says when a record's event happened.
  std::string time_field = "time";
  std::string topic;
  /// The field (the column) whose value is the topic's last token; "": the topic is the same for all.
  std::string topic_field;
  /// A last touch to each message; may be empty.
  std::function<void(google::protobuf::Message&)> finish;
  double rate_default{};  ///< where neither rate nor speed is given; 0: the data's own pace
};

/// Plays a file as a whole source: checks everything, connects, publishes until the file ends (once) or the
/// source is to end. Records that cannot be used are reported by file:line.
[[nodiscard]] ExitCode run_replayed(const SourceOptions& options, std::string_view source,
                                    const ReplayOptions& replay, const ReplayPlan& plan, Signals& signals);

}  // namespace backplane::sources
