#pragma once
// What the brokers of a log must agree on before they read it.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane::broker {

/// Created with the log by its first broker, and never changed. What numbering depends on is in it.
struct LogHead {
  std::string backplane;
  std::uint64_t log{};     ///< a random number: batches of other logs are recognised
  std::uint64_t stream{};  ///< see wire::Stamp
  std::uint16_t rules{};   ///< the version of the rules that it began with
  std::uint64_t max_topics{};
  std::uint64_t max_sessions{};
  std::uint64_t max_event_bytes{};
  bool has_policy{};
  std::string created_by;  ///< a broker, for people
  friend bool operator==(const LogHead&, const LogHead&) = default;
};

/// Lines of text, so that people can read them with the engine's own tools.
[[nodiscard]] std::string encode(const LogHead& head);
[[nodiscard]] Result<LogHead> decode_head(std::string_view text);

/// Whether a broker with the settings of `mine` may use the log of `found`. Ignores what the creator chose:
/// log, stream, created_by. @returns an error that names the first setting that differs.
[[nodiscard]] Result<void> check_same(const LogHead& mine, const LogHead& found);

}  // namespace backplane::broker
