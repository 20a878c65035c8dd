#pragma once
// Publishes the records of a file as events, at a constant rate or at the pace of their own times.

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

/// How a source turns records into events.
struct ReplayPlan {
  std::string type;              ///< empty: each record's JSON as text
  std::vector<FieldRule> rules;  ///< see Mapping
  /// The field of the type (or else the column) that says when a record's event happened.
  std::string time_field = "time";
  std::string topic;
  /// The field (or else the column) whose value becomes the topic's last token. Empty: all records have the
  /// same topic.
  std::string topic_field;
  /// Completes each message; may be empty.
  std::function<void(google::protobuf::Message&)> finish;
  double rate_default{};  ///< used without a rate, speed or interval; 0: the data's own pace
};

/// Runs a source that publishes a file: checks the options and the file, connects, and publishes until the
/// source is stopped or, with ReplayOptions::once, the file ends. Unusable records are reported with
/// file:line.
[[nodiscard]] ExitCode run_replayed(const SourceOptions& options, std::string_view source,
                                    const ReplayOptions& replay, const ReplayPlan& plan, Signals& signals);

}  // namespace backplane::sources
