#pragma once
// The bytes of a batch in a replicated log (docs/decisions/0030-commit-log.md).

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "broker/ingress/peer.hpp"
#include "broker/log/log_entry.hpp"
#include "core/error/error.hpp"

namespace backplane::broker {

/// The version of the rules that this program applies. It changes with every change of what StateMachine
/// makes of a batch: brokers of one log must make the same.
inline constexpr std::uint16_t rules_version = 1;

inline constexpr std::size_t broker_name_bytes_max = 64;

/// Who has appended a batch, and when.
struct BatchHeader {
  std::uint16_t rules{rules_version};
  std::uint64_t log{};          ///< which log it is for: a random number
  std::string_view broker;      ///< its name in the cluster
  std::uint64_t incarnation{};  ///< of the broker: a random number
  std::uint64_t number{};       ///< 0, 1, 2, … per incarnation; 0: the broker joins
  std::int64_t wall_ns{};       ///< Unix time at the broker
  std::uint64_t applied{};      ///< the last index that it had applied, for people
};

enum class BatchItemKind : std::uint8_t {
  join = 1,     ///< body: the incarnation that it replaces
  leave = 2,    ///< the broker appends nothing after it
  from = 3,     ///< name: a user; body: a connection. Of the events that follow.
  event = 4,    ///< name: the topic; body: the event
  refused = 5,  ///< body: session, first and last sequence, the one before if sequences do not count by one,
                ///< reason, source; of consecutive events
  source = 6,   ///< name: a $SYS.source topic; body: session, up or down, owner, event
  types = 7,    ///< body: a serialised FileDescriptorSet
};

/// An entry of a batch. Views into the batch.
struct BatchItem {
  BatchItemKind kind{};
  bool has_session{};
  std::string_view name;
  std::string_view body;
};

/// Collects the entries of one batch.
class BatchWriter {
 public:
  /// @param broker the name that will be in the header
  explicit BatchWriter(std::string_view broker);

  void add_join(std::uint64_t replaces);
  void add_leave();
  /// Copies an entry. `user` and `peer`: where it comes from. Refusals of consecutive sequences are one
  /// entry: a flood of them does not fill the log.
  void add(const LogEntry& entry, std::string_view user, Peer peer);

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_.size(); }
  [[nodiscard]] bool empty() const noexcept { return items_ == 0; }
  /// What an entry adds at most to bytes(), without its topic and the event.
  static constexpr std::size_t entry_overhead_max = 512;

  /// The batch; the writer is empty afterwards. `header.broker` is the one of the constructor.
  [[nodiscard]] std::string finish(const BatchHeader& header);

 private:
  void put_item(BatchItemKind kind, bool has_session, std::string_view name, std::size_t body_bytes);
  void put_from(std::string_view user, Peer peer);
  void put_refused(const LogEntry& entry);
  void begin();

  std::string broker_;
  std::string bytes_;
  std::uint32_t items_{};
  bool has_from_{};
  std::string user_;  ///< of the last `from`
  Peer peer_{};
  std::size_t refused_at_{};  ///< where the body of a `refused` begins, if that is the last entry
};

/// Reads a batch. The default has no entries.
class BatchReader {
 public:
  BatchReader() = default;
  /// Checks header and checksum. @returns an error that says what is wrong. Its code is `protocol` if the
  /// batch is of other rules, or no batch at all. `bytes` must outlive the reader.
  [[nodiscard]] static Result<BatchReader> open(std::string_view bytes);

  [[nodiscard]] const BatchHeader& header() const noexcept { return header_; }
  /// @returns false at the end, and if what follows is not an entry (is_damaged()).
  [[nodiscard]] bool next(BatchItem& item);
  [[nodiscard]] bool is_damaged() const noexcept { return damaged_; }

 private:
  BatchHeader header_;
  std::string_view rest_;
  std::uint32_t items_{};
  bool damaged_{};
};

}  // namespace backplane::broker
