#include "gateway/encode/mqtt_message.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "core/error/error.hpp"
#include "core/payload/text.hpp"
#include "gateway/encode/mqtt_fields.hpp"

namespace backplane::gateway::mqtt {
namespace {

constexpr std::uint8_t publish_type = 0x30;

enum RecordFlags : std::uint8_t { qos_bits = 3, retain_bit = 4, retained_bit = 8, notice_bit = 16 };

bool is_reserved(std::string_view name) noexcept {
  return name.empty() || name == mark_attribute || name == content_type_attribute ||
         name == response_topic_attribute || name == correlation_data_attribute ||
         name.starts_with(user_prefix);
}

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// The bytes of base64 with padding (RFC 4648, section 4); nothing if it is not that.
std::optional<std::string> parse_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string bytes;
  for (std::size_t at = 0; at < text.size(); at += 4) {
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const bool padded = at + i >= text.size() - padding;
      const std::size_t digit = padded ? 0 : digits.find(text[at + i]);
      if (digit == std::string_view::npos) return std::nullopt;
      group = group << 6U | static_cast<std::uint32_t>(digit);
    }
    for (const unsigned shift : {16U, 8U, 0U}) bytes.push_back(static_cast<char>(group >> shift & 0xffU));
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

/// Whether MQTT can write it as a string; it is UTF-8.
bool is_string(std::string_view text) noexcept {
  return text.size() <= string_bytes_max && text.find('\0') == std::string_view::npos;
}

void append_binary_property(std::uint8_t id, std::string_view value, std::string& out) {
  if (value.size() > string_bytes_max) return;
  append_byte(id, out);
  append_string(value, out);
}

void append_string_property(std::uint8_t id, std::string_view value, std::string& out) {
  if (is_string(value)) append_binary_property(id, value, out);
}

}  // namespace

std::string attribute_of_user_property(std::string_view name) {
  return is_reserved(name) ? fmt::format("{}{}", user_prefix, name) : std::string(name);
}

std::string mark_text(const Mark& mark) {
  std::string text = fmt::format("qos={}", mark.qos);
  if (mark.retain) text += " retain";
  if (mark.utf8) text += " utf8";
  if (mark.expires_s) text += fmt::format(" expires={}", *mark.expires_s);
  if (!mark.origin.empty()) text += fmt::format(" origin={}", mark.origin);
  return text;
}

Mark parse_mark(std::string_view text) {
  Mark mark;
  mark.retain = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view item = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = std::min(item.find('='), item.size());
    const std::string_view name = item.substr(0, equals);
    const std::string_view value = item.substr(std::min(equals + 1, item.size()));
    if (name == "qos" && (value == "0" || value == "1")) mark.qos = static_cast<std::uint8_t>(value[0] - '0');
    if (name == "retain") mark.retain = true;
    if (name == "utf8") mark.utf8 = true;
    if (name == "expires") mark.expires_s = parse_number(value);
    if (name == "origin") mark.origin = value;
  }
  return mark;
}

bool append_topic_name(std::string_view topic, std::string& out) {
  if (topic.find_first_of("/+#") != std::string_view::npos) return false;
  const std::size_t begin = out.size();
  out += topic;
  std::replace(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(), '.', '/');
  return true;
}

void append_publish(const Message& message, bool v5, std::string& out) {
  std::size_t length = 2 + message.topic.size() + message.payload.size();
  if (v5) length += wire::varint_bytes(message.properties.size()) + message.properties.size();
  if (length > remaining_length_max) return;
  append_byte(publish_type | (message.retained ? 1 : 0), out);
  append_varint(static_cast<std::uint32_t>(length), out);
  append_string(message.topic, out);
  if (v5) {
    append_varint(static_cast<std::uint32_t>(message.properties.size()), out);
    out.append(message.properties);
  }
  out.append(message.payload);
}

void append_record(const Message& message, std::string& out) {
  const auto flags = static_cast<std::uint8_t>((message.qos & qos_bits) | (message.retain ? retain_bit : 0) |
                                               (message.retained ? retained_bit : 0));
  append_byte(flags, out);
  append_string(message.topic, out);
  append_string(message.origin.substr(0, string_bytes_max), out);
  const auto expires = static_cast<std::uint64_t>(message.expires_s.value_or(0));
  append_four_bytes(static_cast<std::uint32_t>(expires >> 32U), out);
  append_four_bytes(static_cast<std::uint32_t>(expires & 0xffff'ffffU), out);
  append_four_bytes(static_cast<std::uint32_t>(message.properties.size()), out);
  append_four_bytes(static_cast<std::uint32_t>(message.payload.size()), out);
  out.append(message.properties).append(message.payload);
}

void append_notice_record(std::string_view json, std::string& out) {
  append_byte(notice_bit, out);
  append_four_bytes(static_cast<std::uint32_t>(json.size()), out);
  out.append(json);
}

Record take_record(std::string_view& records) {
  const auto take = [&](std::size_t count) {
    CHECK(count <= records.size(), "records are whole");
    const std::string_view taken = records.substr(0, count);
    records.remove_prefix(count);
    return taken;
  };
  const auto number = [&](std::size_t bytes) {
    std::size_t value = 0;
    for (const char each : take(bytes)) value = value << 8U | static_cast<unsigned char>(each);
    return value;
  };
  Record record;
  const auto flags = static_cast<unsigned>(number(1));
  if ((flags & notice_bit) != 0) {
    record.is_notice = true;
    record.notice = take(number(4));
    return record;
  }
  Message& message = record.message;
  message.qos = flags & qos_bits;
  message.retain = (flags & retain_bit) != 0;
  message.retained = (flags & retained_bit) != 0;
  message.topic = take(number(2));
  message.origin = take(number(2));
  if (const std::size_t expires = number(8); expires != 0)
    message.expires_s = static_cast<std::int64_t>(expires);
  const std::size_t properties = number(4);
  const std::size_t payload = number(4);
  message.properties = take(properties);
  message.payload = take(payload);
  return record;
}

void append_message_properties(const Attributes& attributes, bool text, std::string_view default_content_type,
                               std::optional<std::uint32_t> expiry_s, std::string& out) {
  if (text) out.append("\x01\x01", 2);
  if (expiry_s) {
    append_byte(0x02, out);
    append_four_bytes(*expiry_s, out);
  }
  bool content_type = false;
  // Each of these may appear once. Of a key that appears twice, protobuf's maps keep the last value.
  const auto last = [&](std::string_view name) -> std::optional<std::string_view> {
    const auto found = std::find_if(attributes.rbegin(), attributes.rend(),
                                    [&](const auto& each) { return each.first == name; });
    if (found == attributes.rend()) return std::nullopt;
    return found->second;
  };
  if (const auto value = last(content_type_attribute)) {
    append_string_property(0x03, *value, out);
    content_type = true;
  }
  if (!content_type && !default_content_type.empty()) append_string_property(0x03, default_content_type, out);
  if (const auto value = last(response_topic_attribute)) {
    std::string name;
    if (append_topic_name(*value, name)) append_string_property(0x08, name, out);
  }
  if (const auto value = last(correlation_data_attribute)) {
    if (const auto bytes = parse_base64(*value)) append_binary_property(0x09, *bytes, out);
  }
  for (const auto& [key, value] : attributes) {
    std::string_view name = key;
    if (name.starts_with(user_prefix)) {
      name.remove_prefix(user_prefix.size());
    } else if (is_reserved(name)) {
      continue;
    }
    if (!is_string(name) || !is_string(value)) continue;
    append_byte(0x26, out);
    append_string(name, out);
    append_string(value, out);
  }
}

}  // namespace backplane::gateway::mqtt
