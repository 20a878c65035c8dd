#pragma once
// A batch that a replicated log has committed, as entries to apply.

#include <cstdint>
#include <string_view>

#include "broker/access/access.hpp"
#include "broker/log/batch.hpp"
#include "broker/log/log_entry.hpp"
#include "core/wire/scan.hpp"

namespace backplane::broker {

/// Reads the entries of a batch. They are scanned again, which validates what came from elsewhere. Views into
/// the batch.
class CommittedBatch {
 public:
  CommittedBatch() = default;
  /// @param received_ns of all its events
  /// @param is_own appended by this broker, since it was started
  CommittedBatch(const BatchReader& reader, Access& users, std::int64_t received_ns, bool is_own)
      : reader_(reader), users_(&users), received_ns_(received_ns), is_own_(is_own) {}

  /// Sets `entry` to the next one, which is valid until the next call. @returns false at the end, and if the
  /// rest cannot be read.
  [[nodiscard]] bool next(LogEntry& entry);
  [[nodiscard]] bool is_damaged() const noexcept { return damaged_; }

  [[nodiscard]] std::int64_t received_ns() const noexcept { return received_ns_; }
  [[nodiscard]] bool is_own() const noexcept { return is_own_; }

 private:
  [[nodiscard]] bool read_event(const BatchItem& item, LogEntry& entry);
  [[nodiscard]] bool read_refused(const BatchItem& item, LogEntry& entry);
  [[nodiscard]] bool read_source(const BatchItem& item, LogEntry& entry);

  BatchReader reader_;
  Access* users_{};
  std::int64_t received_ns_{};
  bool is_own_{};
  bool damaged_{};
  UserNumber user_{no_user};  // of the last `from`
  Peer peer_{};
  wire::ScanResult scan_;
  SourceChange source_;
};

}  // namespace backplane::broker
