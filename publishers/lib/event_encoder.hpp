#pragma once
// Encodes a backplane.v1.Event (proto/backplane/v1/event.proto) directly. The order is: source and session
// (the head, constant for a session), then the sequence, then the rest (the tail). This way only the sequence
// has to be written when an event gets its place in the order.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace backplane::publishing {

/// The longest sequence field: a tag and a 64-bit varint.
inline constexpr std::size_t sequence_field_bytes_max = 11;

/// Fields 1 and 2.
[[nodiscard]] std::string encode_head(std::string_view source, std::uint64_t session);

/// Writes field 3. @returns how many bytes were written, at most sequence_field_bytes_max.
[[nodiscard]] std::size_t encode_sequence(std::uint64_t sequence, char* out) noexcept;

/// Field 4, from Unix nanoseconds.
void append_time(std::string& tail, std::int64_t unix_ns);
/// Field 5: `message` in an Any under its full type name. `value_bytes` is the result of its ByteSizeLong(),
/// which must have been called just before.
void append_message(std::string& tail, const google::protobuf::Message& message, std::size_t value_bytes);
/// Field 5: the bytes of a message of `type` (its full name) in an Any.
void append_serialized(std::string& tail, std::string_view type, std::string_view bytes);
/// Field 6. `text` must be UTF-8.
void append_text(std::string& tail, std::string_view text);
/// Field 7.
void append_binary(std::string& tail, std::string_view bytes);
/// Field 8.
void append_attributes(std::string& tail, const std::vector<std::pair<std::string, std::string>>& attributes);

}  // namespace backplane::publishing
