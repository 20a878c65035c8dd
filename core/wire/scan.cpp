#include "core/wire/scan.hpp"

#include <cstring>

#include <fmt/format.h>

#include "core/wire/little_endian.hpp"

namespace backplane::wire {
namespace {

// Protobuf's wire types. 3 and 4 are groups, 6 and 7 are undefined.
enum WireType : std::uint32_t { varint = 0, fixed64 = 1, delimited = 2, fixed32 = 5 };

// One field on the wire. `number` is 0 until the tag is read; a varint or fixed value is in `value`,
// delimited bytes are in `bytes`.
struct Field {
  std::uint32_t number{};
  std::uint32_t wire_type{};
  std::uint64_t value{};
  std::string_view bytes;
};

// Reads one message level from beginning to end. Visits each byte once; owns nothing.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool done() const { return at_ == end_; }
  const char* at() const { return at_; }

  // When it is inlined, the reader and the field stay in registers; in memory they double the cost.
  [[gnu::always_inline]] EventFault next(Field& field) {
    field.number = 0;
    std::uint64_t tag = 0;
    if (const EventFault fault = read_varint(tag, short_varint_bytes); fault != EventFault::none)
      return fault;
    if (tag > 0xffff'ffffU) return EventFault::bad_varint;
    field.number = static_cast<std::uint32_t>(tag >> 3);
    field.wire_type = static_cast<std::uint32_t>(tag & 7);
    if (field.number == 0) return EventFault::field_zero;
    switch (field.wire_type) {
      case varint:
        return read_varint(field.value, varint_bytes_max);
      case fixed64:
        return read_fixed<std::uint64_t>(field.value);
      case fixed32:
        return read_fixed<std::uint32_t>(field.value);
      case delimited:
        return read_delimited(field.bytes);
      default:
        return EventFault::group;
    }
  }

 private:
  static constexpr std::size_t varint_bytes_max = 10;
  // Tags and lengths: protobuf's own parser accepts no more, not even padded with zeros.
  static constexpr std::size_t short_varint_bytes = 5;

  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

  EventFault read_varint(std::uint64_t& value, std::size_t bytes_max) {
    if (at_ != end_ && static_cast<unsigned char>(*at_) < 0x80) {
      value = static_cast<unsigned char>(*at_++);
      return EventFault::none;
    }
    value = 0;
    for (std::size_t i = 0; i < bytes_max; ++i) {
      if (at_ == end_) return EventFault::truncated;
      const auto byte = static_cast<unsigned char>(*at_++);
      // The tenth byte has only the last of 64 bits: parsers differ in what they make of more.
      if (i == varint_bytes_max - 1 && byte > 1) return EventFault::bad_varint;
      value |= static_cast<std::uint64_t>(byte & 0x7fU) << (7 * i);
      if (byte < 0x80) return EventFault::none;
    }
    return EventFault::bad_varint;
  }

  template <class Number>
  EventFault read_fixed(std::uint64_t& value) {
    if (left() < sizeof(Number)) return EventFault::truncated;
    value = load_little_endian<Number>(at_);
    at_ += sizeof(Number);
    return EventFault::none;
  }

  EventFault read_delimited(std::string_view& bytes) {
    std::uint64_t length = 0;
    if (const EventFault fault = read_varint(length, short_varint_bytes); fault != EventFault::none) {
      return fault;
    }
    if (length > left()) return EventFault::truncated;
    bytes = {at_, static_cast<std::size_t>(length)};
    at_ += length;
    return EventFault::none;
  }

  const char* at_;
  const char* end_;
};

// A fault one level down is reported as the reason of the field that contains it.

bool scan_time(std::string_view bytes, EventView& event) {
  Reader reader{bytes};
  for (Field field; !reader.done();) {
    if (reader.next(field) != EventFault::none) return false;
    if (field.number > 2) continue;
    if (field.wire_type != varint) return false;
    if (field.number == 1) {
      event.time_seconds = static_cast<std::int64_t>(field.value);
    } else {
      event.time_nanos = static_cast<std::int32_t>(static_cast<std::uint32_t>(field.value));
    }
  }
  event.has_time = true;
  return true;
}

bool scan_message(std::string_view bytes, EventView& event) {
  // Protobuf merges an Any into an earlier one, unless another payload came between them: that one has
  // cleared the parts (set_plain_payload()).
  Reader reader{bytes};
  for (Field field; !reader.done();) {
    if (reader.next(field) != EventFault::none) return false;
    if (field.number > 2) continue;
    if (field.wire_type != delimited) return false;
    if (field.number == 1) {
      if (!is_utf8(field.bytes)) return false;
      event.type_url = field.bytes;
    } else {
      event.message = field.bytes;
    }
  }
  event.payload = Payload::message;
  event.body = bytes;
  return true;
}

bool scan_attribute(std::string_view bytes) {
  Reader reader{bytes};
  for (Field field; !reader.done();) {
    if (reader.next(field) != EventFault::none) return false;
    if (field.number > 2) continue;
    if (field.wire_type != delimited || !is_utf8(field.bytes)) return false;
  }
  return true;
}

void set_plain_payload(EventView& event, Payload kind, std::string_view bytes) {
  if (event.payload == Payload::message) {
    event.type_url = {};
    event.message = {};
  }
  event.payload = kind;
  event.body = bytes;
}

// Adds one field of the top level to `event`.
EventFault take(const Field& field, EventView& event) {
  const auto is = [&field](WireType expected) { return field.wire_type == expected; };
  switch (field.number) {
    case 1:
      if (!is(delimited)) return EventFault::wrong_wire_type;
      if (!is_utf8(field.bytes)) return EventFault::source_not_utf8;
      event.source = field.bytes;
      return EventFault::none;
    case 2:
      if (!is(fixed64)) return EventFault::wrong_wire_type;
      event.session = field.value;
      return EventFault::none;
    case 3:
      if (!is(varint)) return EventFault::wrong_wire_type;
      event.sequence = field.value;
      return EventFault::none;
    case 4:
      if (!is(delimited)) return EventFault::wrong_wire_type;
      return scan_time(field.bytes, event) ? EventFault::none : EventFault::bad_time;
    case 5:
      if (!is(delimited)) return EventFault::wrong_wire_type;
      return scan_message(field.bytes, event) ? EventFault::none : EventFault::bad_message;
    case 6:
      if (!is(delimited)) return EventFault::wrong_wire_type;
      if (!is_utf8(field.bytes)) return EventFault::text_not_utf8;
      set_plain_payload(event, Payload::text, field.bytes);
      return EventFault::none;
    case 7:
      if (!is(delimited)) return EventFault::wrong_wire_type;
      set_plain_payload(event, Payload::binary, field.bytes);
      return EventFault::none;
    case 8:
      if (!is(delimited)) return EventFault::wrong_wire_type;
      return scan_attribute(field.bytes) ? EventFault::none : EventFault::bad_attributes;
    case 9:
      if (!is(varint)) return EventFault::wrong_wire_type;
      event.after_sequence = field.value;
      return EventFault::none;
    case 14:
      if (!is(fixed64)) return EventFault::wrong_wire_type;
      event.lost = field.value;
      return field.value <= lost_max ? EventFault::none : EventFault::bad_lost;
    case 15:
      return EventFault::stamped;
    default:
      return EventFault::none;
  }
}

constexpr std::size_t word_bytes = sizeof(std::uint64_t);
constexpr std::size_t block_bytes = 4 * word_bytes;
constexpr std::uint64_t high_bits = 0x8080'8080'8080'8080U;

std::uint64_t word_at(const char* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

bool is_ascii_word(const char* at) {
  return (word_at(at) & high_bits) == 0;
}

bool is_ascii_block(const char* at) {
  const std::uint64_t all =
      word_at(at) | word_at(at + word_bytes) | word_at(at + 2 * word_bytes) | word_at(at + 3 * word_bytes);
  return (all & high_bits) == 0;
}

// The length of the character at `at`, whose first byte is not ASCII; 0 if it is not UTF-8.
std::size_t character_bytes(const char* at, std::size_t left) {
  const auto byte = [at](std::size_t i) { return static_cast<unsigned char>(at[i]); };
  const unsigned lead = byte(0);
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || left < bytes) return 0;
  // Only the second byte can make a form overlong, a surrogate or above U+10FFFF.
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < bytes; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  }
  return bytes;
}

std::string_view field_name(std::uint32_t number) {
  switch (number) {
    case 1:
      return "source";
    case 2:
      return "session";
    case 3:
      return "sequence";
    case 4:
      return "time";
    case 5:
      return "message";
    case 6:
      return "text";
    case 7:
      return "binary";
    case 8:
      return "attributes";
    case 9:
      return "after_sequence";
    case 14:
      return "lost";
    case 15:
      return "stamp";
    default:
      return {};
  }
}

std::string_view explain(EventFault fault) {
  switch (fault) {
    case EventFault::none:
      return "nothing is wrong";
    case EventFault::truncated:
      return "ends in the middle, or its length points past the end";
    case EventFault::bad_varint:
      return "a varint that is too long";
    case EventFault::field_zero:
      return "a field with the number 0";
    case EventFault::group:
      return "a group or an undefined wire type (3, 4, 6 or 7)";
    case EventFault::wrong_wire_type:
      return "the wrong wire type";
    case EventFault::source_not_utf8:
    case EventFault::text_not_utf8:
      return "bytes that are not UTF-8";
    case EventFault::bad_time:
      return "not a google.protobuf.Timestamp";
    case EventFault::bad_message:
      return "not a google.protobuf.Any";
    case EventFault::bad_attributes:
      return "not an entry of a key and a value in UTF-8";
    case EventFault::stamped:
      return "set by the publisher; only a broker may set it";
    case EventFault::bad_lost:
      return "expected at most 2^32 lost events, no payload, and no field after it";
  }
  return "unknown fault";
}

}  // namespace

std::string_view name(EventFault fault) noexcept {
  switch (fault) {
    case EventFault::none:
      return "none";
    case EventFault::truncated:
      return "truncated";
    case EventFault::bad_varint:
      return "bad_varint";
    case EventFault::field_zero:
      return "field_zero";
    case EventFault::group:
      return "group";
    case EventFault::wrong_wire_type:
      return "wrong_wire_type";
    case EventFault::source_not_utf8:
      return "source_not_utf8";
    case EventFault::text_not_utf8:
      return "text_not_utf8";
    case EventFault::bad_time:
      return "bad_time";
    case EventFault::bad_message:
      return "bad_message";
    case EventFault::bad_attributes:
      return "bad_attributes";
    case EventFault::stamped:
      return "stamped";
    case EventFault::bad_lost:
      return "bad_lost";
  }
  return "unknown";
}

ScanResult scan_event(std::span<const std::byte> event) noexcept {
  ScanResult result;
  const std::string_view bytes{reinterpret_cast<const char*>(event.data()), event.size()};
  Reader reader{bytes};
  for (Field field; !reader.done();) {
    const char* const begin = reader.at();
    result.fault = reader.next(field);
    if (result.fault == EventFault::none) result.fault = take(field, result.event);
    if (result.event.lost != 0 && (result.event.payload != Payload::none || !reader.done()))
      result.fault = EventFault::bad_lost;
    if (result.fault != EventFault::none) {
      result.fault_at = static_cast<std::size_t>(begin - bytes.data());
      result.fault_field = field.number;
      break;
    }
  }
  return result;
}

void read_attributes(std::span<const std::byte> event,
                     std::vector<std::pair<std::string_view, std::string_view>>& out) {
  constexpr std::uint32_t attributes = 8;
  Reader reader{{reinterpret_cast<const char*>(event.data()), event.size()}};
  for (Field field; !reader.done();) {
    if (reader.next(field) != EventFault::none) return;
    if (field.number != attributes || field.wire_type != delimited) continue;
    auto& [key, value] = out.emplace_back();
    Reader entry{field.bytes};
    for (Field part; !entry.done();) {
      if (entry.next(part) != EventFault::none) return;
      if (part.number == 1) key = part.bytes;
      if (part.number == 2) value = part.bytes;
    }
  }
}

std::string describe(const ScanResult& result, std::size_t event_bytes) {
  if (result.fault == EventFault::none) return std::string(explain(result.fault));
  const std::string_view known = field_name(result.fault_field);
  const std::string where = !known.empty()            ? fmt::format("{}: ", known)
                            : result.fault_field != 0 ? fmt::format("field {}: ", result.fault_field)
                                                      : std::string();
  return fmt::format("{}{}, at byte {} of {}", where, explain(result.fault), result.fault_at, event_bytes);
}

bool is_utf8(std::string_view bytes) noexcept {
  // Most text is ASCII: it is checked in blocks, and an end shorter than a word as the last word of the
  // whole.
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  while (at != end) {
    const auto left = static_cast<std::size_t>(end - at);
    if (left >= block_bytes && is_ascii_block(at)) {
      at += block_bytes;
    } else if (left >= word_bytes && is_ascii_word(at)) {
      at += word_bytes;
    } else if (left < word_bytes && bytes.size() >= word_bytes && is_ascii_word(end - word_bytes)) {
      return true;
    } else if (static_cast<unsigned char>(*at) < 0x80) {
      ++at;
    } else {
      const std::size_t character = character_bytes(at, left);
      if (character == 0) return false;
      at += character;
    }
  }
  return true;
}

}  // namespace backplane::wire
