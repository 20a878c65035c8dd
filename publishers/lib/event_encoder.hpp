#pragma once
// Writes a backplane.v1.Event (proto/backplane/v1/event.proto) straight into bytes. The order is source and
// session (the head, the same for a whole session), sequence, and then the rest (the tail), so that only the
// sequence need be known where events are put in order.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace backplane::publishing {

/// Longest sequence field: its tag and a varint of 64 bits.
inline constexpr std::size_t sequence_field_bytes_max = 11;

/// Fields 1 and 2.
[[nodiscard]] std::string encode_head(std::string_view source, std::uint64_t session);

/// Writes field 3. @returns how many bytes were written, at most sequence_field_bytes_max.
[[nodiscard]] std::size_t encode_sequence(std::uint64_t sequence, char* out) noexcept;

/// Field 4, from Unix nanoseconds.
void append_time(std::string& tail, std::int64_t unix_ns);
/// Field 5: `message` in an Any under its full type name; `value_bytes` is its ByteSizeLong(),
/// just asked.
void append_message(std::string& tail, const google::protobuf::Message& message, std::size_t value_bytes);
/// Field 5: the bytes of a message of `type` (its full name) in an Any.
void append_serialized(std::string& tail, std::string_view type, std::string_view bytes);
/// Field 6, which must be UTF-8.
void append_text(std::string& tail, std::string_view text);
/// Field 7.
void append_binary(std::string& tail, std::string_view bytes);
/// Field 8.
void append_attributes(std::string& tail, const std::vector<std::pair<std::string, std::string>>& attributes);

}  // namespace backplane::publishing
