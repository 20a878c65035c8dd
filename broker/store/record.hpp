#pragma once
// The bytes of the store's files; docs/store-format.md specifies them.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/error/error.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::broker::store {

inline constexpr std::uint16_t format_version = 1;
/// Of the file `store`, if segments may have records of sessions, and of a checkpoint with users.
inline constexpr std::uint16_t format_version_with_users = 2;

/// CRC-32C (Castagnoli), as in iSCSI.
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes) noexcept;

// --- the header of each file ---

enum class FileKind : std::uint16_t { segment = 1, index = 2, checkpoint = 3 };

inline constexpr std::size_t header_bytes = 64;

struct FileHeader {
  std::uint16_t version{format_version};
  FileKind kind{};
  bool cleaned{};  ///< segment: some of its records may have been removed
  std::uint64_t stream{};
  std::uint64_t serial{};    ///< segment: distinguishes it from others of the same name; index: its segment's
  std::uint64_t first{};     ///< segment: the first position that it is for; checkpoint: the position
  std::uint64_t through{};   ///< cleaned segment: the last position that it is for
  std::int64_t last_time{};  ///< cleaned segment: the time of that position
  std::uint32_t removals_bytes{};  ///< cleaned segment: of the `removed` records at its start
  friend bool operator==(const FileHeader&, const FileHeader&) = default;
};

[[nodiscard]] std::string encode(const FileHeader& header);
/// @returns an error if `bytes` do not begin with an intact header of `kind`. Its code is `protocol` if the
/// header is intact, but of a version that this program does not know; `name` is for the message.
[[nodiscard]] Result<FileHeader> decode_header(std::string_view bytes, FileKind kind, std::string_view name);

// --- the records of a segment ---

enum class RecordKind : std::uint8_t {
  event = 1,
  removed = 2,  ///< the last event of a topic that was removed from this segment
  types = 3,    ///< a set of type descriptors
  clock = 4,    ///< the store's clock was moved
  synced = 5,   ///< how much of this segment had been synced when the record was written
  session = 6,  ///< the user to whom a session belongs, before that session's next event
};

inline constexpr std::size_t record_header_bytes = 32;
inline constexpr std::size_t record_bytes_max = std::size_t{1} << 30;

struct Record {
  RecordKind kind{};
  bool clears_value{};
  std::uint32_t topic{};  ///< event, removed: the topic's number
  std::int64_t time{};    ///< on the store's clock
  /// Event: bytes of the topic's events before it; clock: its shift; synced: bytes; session: the position of
  /// the event that follows.
  std::uint64_t number{};
  std::string_view name{};  ///< event, removed: the topic
  std::string_view body{};  ///< event: stamped; types: the descriptors; session: see session_body()
  // From the stamp of an event; of a removed event.
  std::uint64_t position{};
  std::uint64_t offset{};
  std::uint64_t previous{};
  std::uint64_t first_offset{};  ///< below `offset` if the event stands for several lost ones
  // Of a session, set by parse_record().
  std::string_view source{};
  std::uint64_t session{};
  std::string_view user{};  ///< of an event that is to be stored: the user to whom its session belongs
  std::size_t bytes{};      ///< of the whole record, set by parse_record()

  [[nodiscard]] std::span<const std::byte> event() const { return std::as_bytes(std::span(body)); }
};

/// Appends `record` to `out`: all members but `bytes` and what the body contains: of an event, position,
/// offset and previous are in its stamp.
void encode(const Record& record, std::string& out);
/// The body of the record of a session.
[[nodiscard]] std::string session_body(std::string_view source, std::uint64_t session, std::string_view user);

enum class Parsed : std::uint8_t {
  ok,
  incomplete,  ///< `bytes` end before the record does, if it is one
  damaged,
};
/// Reads the record at the start of `bytes`. The views of `record` point into `bytes`.
[[nodiscard]] Parsed parse_record(std::string_view bytes, Record& record);
/// The size of the record at the start of `bytes`, according to its header, which is not verified. 0: this is
/// no record.
[[nodiscard]] std::size_t claimed_bytes(std::string_view bytes);

}  // namespace backplane::broker::store
