#pragma once
// The interface to an engine that replicates a log.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/state/cluster_report.hpp"
#include "core/error/error.hpp"

namespace backplane::broker {

/// A log of byte strings that several brokers append to and read, and that an engine keeps. Lives on the loop
/// thread; the engine's own threads are behind it. Nothing blocks.
///
/// What it must promise is little, because ReplicatedLog copes with the rest: what is in the log at an index
/// never changes, and is there until it is trimmed. Appends may get lost, take long, be repeated or change
/// their order, and so may what next() returns.
class LogEngine {
 public:
  enum class Append : std::uint8_t {
    none,
    under_way,
    done,    ///< it is in the log
    failed,  ///< it may be in the log, or may come to be there later
  };
  /// What is in the log at an index: 1, 2, 3, …
  struct Record {
    std::uint64_t index{};
    std::string_view bytes;    ///< valid until the next call of next()
    std::int64_t engine_ns{};  ///< when the engine has stored it, Unix; 0: unknown
  };
  struct Condition {
    bool accepts{true};  ///< appends may succeed
    bool broken{};  ///< final: what next() has returned is not in the log any more, or what follows is not
    std::string text{};  ///< one line: what is wrong; empty if nothing is
  };

  /// For people.
  struct Status {
    std::uint64_t first_index{};
    std::uint64_t last_index{};
    bool has_quorum{};
    std::vector<LogServer> servers;  ///< that have a copy; empty: there is no cluster of them
  };

  virtual ~LogEngine() = default;

  /// Begins to append. Replaces an append that is under way, whose outcome is then unknown. The engine may
  /// skip it if it knows that it has appended the same `id`. Copies both.
  virtual void append(std::string_view bytes, std::string_view id) = 0;
  /// How the last append is doing. `done` and `failed` are returned once.
  [[nodiscard]] virtual Append append_state() = 0;

  /// Continues reading at `index`.
  virtual void read_from(std::uint64_t index) = 0;
  /// What has arrived of the log, if anything has.
  [[nodiscard]] virtual std::optional<Record> next() = 0;

  /// Stores a checkpoint of what was applied up to `index`, unless that fails. Two are kept, and the log is
  /// trimmed to the older one. Brokers may write the same one at the same time: it has the same bytes.
  virtual void write_checkpoint(std::uint64_t index, std::string bytes) = 0;
  /// The newest checkpoint that this engine has found or stored; 0: none.
  [[nodiscard]] virtual std::uint64_t checkpoint_index() const = 0;

  /// Readable when append_state() or next() has something new; -1: call them at any time.
  [[nodiscard]] virtual int progress_fd() const = 0;
  [[nodiscard]] virtual Condition condition() const = 0;
  /// As of a second ago or so.
  [[nodiscard]] virtual Status status() const = 0;
};

}  // namespace backplane::broker
