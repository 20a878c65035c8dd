#pragma once
// Writes the data types of MQTT.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/wire/write.hpp"

namespace backplane::gateway::mqtt {

/// The longest packet after its fixed header.
inline constexpr std::size_t remaining_length_max = 268'435'455;
/// The longest string or binary data.
inline constexpr std::size_t string_bytes_max = 65'535;

inline void append_byte(std::uint8_t value, std::string& out) {
  out.push_back(static_cast<char>(value));
}
inline void append_two_bytes(std::uint16_t value, std::string& out) {
  out.push_back(static_cast<char>(value >> 8U));
  out.push_back(static_cast<char>(value & 0xffU));
}
inline void append_four_bytes(std::uint32_t value, std::string& out) {
  append_two_bytes(static_cast<std::uint16_t>(value >> 16U), out);
  append_two_bytes(static_cast<std::uint16_t>(value & 0xffffU), out);
}
/// At most remaining_length_max. The form is protobuf's.
inline void append_varint(std::uint32_t value, std::string& out) {
  wire::append_varint(value, out);
}
/// A string or binary data of at most string_bytes_max bytes.
inline void append_string(std::string_view text, std::string& out) {
  append_two_bytes(static_cast<std::uint16_t>(text.size()), out);
  out.append(text);
}

}  // namespace backplane::gateway::mqtt
