#pragma once
// The interface to what decides the order of a backplane's events.

#include <cstdint>
#include <string>

#include "broker/log/committed_batch.hpp"
#include "broker/log/log_entry.hpp"

namespace backplane::broker {

/// Decides the order of entries. Lives on the loop thread, like everything of a backplane; one that works
/// elsewhere has its own threads behind this interface, and never blocks.
class CommitLog {
 public:
  enum class Appended : std::uint8_t {
    committed,  ///< the caller applies the entry now
    later,      ///< the log has copied it: next() returns it when it is committed
  };
  struct Condition {
    bool accepts{true};  ///< what is appended is going to be committed soon
    bool failed{};       ///< final: nothing more is committed, or may be applied
    std::string text{};  ///< one line: what is wrong; empty if nothing is
  };

  virtual ~CommitLog() = default;

  /// Whether other brokers read it, too. If not, append() commits at once, and next() has nothing.
  [[nodiscard]] virtual bool is_replicated() const = 0;
  /// Takes an entry. Call it only while has_room(), except for the broker's own entries, which are few.
  [[nodiscard]] virtual Appended append(const LogEntry& entry) = 0;
  /// Whether it takes more. While it does not, publishers wait.
  [[nodiscard]] virtual bool has_room() const = 0;

  /// Appends what has been taken, repeats what may have been lost. Call it every turn, and when progress_fd()
  /// is readable.
  virtual void advance() = 0;
  /// The next batch to apply, or nullptr: none has come. All of it is applied before the next call, until
  /// which it is valid.
  [[nodiscard]] virtual CommittedBatch* next() = 0;

  /// A number for reached(): everything that was in the log when this was called.
  [[nodiscard]] virtual std::uint64_t barrier() = 0;
  /// Whether all of that has been applied here.
  [[nodiscard]] virtual bool reached(std::uint64_t barrier) const = 0;

  /// Readable when advance() or next() has something to do; -1: not needed.
  [[nodiscard]] virtual int progress_fd() const = 0;
  [[nodiscard]] virtual Condition condition() const = 0;
};

/// The log of a single broker: the order of entries is the one in which they come.
class LocalLog final : public CommitLog {
 public:
  [[nodiscard]] bool is_replicated() const override { return false; }
  [[nodiscard]] Appended append(const LogEntry& /*entry*/) override { return Appended::committed; }
  [[nodiscard]] bool has_room() const override { return true; }
  void advance() override {}
  [[nodiscard]] CommittedBatch* next() override { return nullptr; }
  [[nodiscard]] std::uint64_t barrier() override { return 0; }
  [[nodiscard]] bool reached(std::uint64_t /*barrier*/) const override { return true; }
  [[nodiscard]] int progress_fd() const override { return -1; }
  [[nodiscard]] Condition condition() const override { return {}; }
};

}  // namespace backplane::broker
