#include "publishers/lib/event_encoder.hpp"

#include <google/protobuf/message.h>

namespace backplane::publishing {
namespace {

constexpr std::string_view type_url_prefix = "type.googleapis.com/";

enum WireType : std::uint32_t { varint = 0, fixed64 = 1, length_delimited = 2 };

constexpr char tag(std::uint32_t field, WireType type) {
  return static_cast<char>((field << 3U) | type);
}

std::size_t write_varint(std::uint64_t value, char* out) noexcept {
  std::size_t written = 0;
  while (value >= 0x80) {
    out[written++] = static_cast<char>(value | 0x80U);
    value >>= 7U;
  }
  out[written++] = static_cast<char>(value);
  return written;
}

std::size_t varint_bytes(std::uint64_t value) noexcept {
  std::size_t bytes = 1;
  while (value >= 0x80) {
    value >>= 7U;
    ++bytes;
  }
  return bytes;
}

void append_varint(std::string& out, std::uint64_t value) {
  char bytes[10];
  out.append(bytes, write_varint(value, bytes));
}

void append_field(std::string& out, std::uint32_t field, std::string_view bytes) {
  out.push_back(tag(field, length_delimited));
  append_varint(out, bytes.size());
  out.append(bytes);
}

/// Size of a length-delimited field with a one-byte tag.
std::size_t field_bytes(std::size_t content_bytes) noexcept {
  return 1 + varint_bytes(content_bytes) + content_bytes;
}

/// Writes the field `message` up to the bytes of the message itself, which must follow.
void append_message_head(std::string& tail, std::string_view type, std::size_t value_bytes) {
  const std::size_t url_bytes = type_url_prefix.size() + type.size();
  tail.push_back(tag(5, length_delimited));
  append_varint(tail, field_bytes(url_bytes) + field_bytes(value_bytes));
  tail.push_back(tag(1, length_delimited));
  append_varint(tail, url_bytes);
  tail.append(type_url_prefix).append(type);
  tail.push_back(tag(2, length_delimited));
  append_varint(tail, value_bytes);
}

}  // namespace

std::string encode_head(std::string_view source, std::uint64_t session) {
  std::string head;
  append_field(head, 1, source);
  head.push_back(tag(2, fixed64));
  for (unsigned shift = 0; shift < 64; shift += 8) head.push_back(static_cast<char>(session >> shift));
  return head;
}

std::size_t encode_sequence(std::uint64_t sequence, char* out) noexcept {
  out[0] = tag(3, varint);
  return 1 + write_varint(sequence, out + 1);
}

void append_time(std::string& tail, std::int64_t unix_ns) {
  constexpr std::int64_t second = 1'000'000'000;
  std::int64_t seconds = unix_ns / second;
  std::int64_t nanos = unix_ns % second;
  if (nanos < 0) {  // nanos of a Timestamp count forward, also before 1970
    nanos += second;
    --seconds;
  }
  char content[2 + 10 + 5];
  std::size_t size = 0;
  content[size++] = tag(1, varint);
  size += write_varint(static_cast<std::uint64_t>(seconds), content + size);
  if (nanos != 0) {
    content[size++] = tag(2, varint);
    size += write_varint(static_cast<std::uint64_t>(nanos), content + size);
  }
  append_field(tail, 4, {content, size});
}

void append_message(std::string& tail, const google::protobuf::Message& message, std::size_t value_bytes) {
  append_message_head(tail, message.GetDescriptor()->full_name(), value_bytes);
  // Uses the sizes that ByteSizeLong() has cached in the message.
  const std::size_t before = tail.size();
  tail.resize(before + value_bytes);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(tail.data() + before));
}

void append_serialized(std::string& tail, std::string_view type, std::string_view bytes) {
  append_message_head(tail, type, bytes.size());
  tail.append(bytes);
}

void append_text(std::string& tail, std::string_view text) {
  append_field(tail, 6, text);
}

void append_binary(std::string& tail, std::string_view bytes) {
  append_field(tail, 7, bytes);
}

void append_attributes(std::string& tail,
                       const std::vector<std::pair<std::string, std::string>>& attributes) {
  for (const auto& [key, value] : attributes) {
    tail.push_back(tag(8, length_delimited));
    append_varint(tail, field_bytes(key.size()) + field_bytes(value.size()));
    append_field(tail, 1, key);
    append_field(tail, 2, value);
  }
}

}  // namespace backplane::publishing
