#pragma once
// The interface to what decides the order of a backplane's events.

#include <cstdint>

#include "broker/log/log_entry.hpp"

namespace backplane::broker {

/// Decides the order of entries. Lives on the loop thread, like everything of a backplane; one that works
/// elsewhere has its own threads behind this interface, and never blocks.
class CommitLog {
 public:
  enum class Appended : std::uint8_t {
    committed,  ///< the caller applies the entry now
    later,      ///< the log has copied it
  };

  virtual ~CommitLog() = default;
  /// Takes an entry. Call it only while has_room(), except for the broker's own entries, which are few.
  [[nodiscard]] virtual Appended append(const LogEntry& entry) = 0;
  /// Whether it takes more. While it does not, publishers wait.
  [[nodiscard]] virtual bool has_room() const = 0;
};

/// The log of a single broker: the order of entries is the one in which they come.
class LocalLog final : public CommitLog {
 public:
  [[nodiscard]] Appended append(const LogEntry& /*entry*/) override { return Appended::committed; }
  [[nodiscard]] bool has_room() const override { return true; }
};

}  // namespace backplane::broker
