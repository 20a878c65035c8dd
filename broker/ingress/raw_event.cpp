#include "broker/ingress/raw_event.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/wire/scan.hpp"

namespace backplane::broker {
namespace {

// Field 1, length-delimited, 3 bytes.
constexpr std::array<char, 5> source_field{0x0a, 3, 'r', 'a', 'w'};
constexpr auto text_tag = std::byte{6 << 3 | 2};
constexpr auto binary_tag = std::byte{7 << 3 | 2};

std::size_t varint_bytes(std::uint64_t value) noexcept {
  std::size_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

}  // namespace

std::size_t raw_event_bytes(std::size_t payload_bytes) noexcept {
  return source_field.size() + 1 + varint_bytes(payload_bytes) + payload_bytes;
}

void write_raw_event(std::span<const std::byte> payload, std::span<std::byte> out) noexcept {
  std::byte* at = out.data();
  std::memcpy(at, source_field.data(), source_field.size());
  at += source_field.size();
  const std::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
  *at++ = wire::is_utf8(text) ? text_tag : binary_tag;
  std::uint64_t length = payload.size();
  for (; length >= 0x80; length >>= 7) *at++ = static_cast<std::byte>(length | 0x80);
  *at++ = static_cast<std::byte>(length);
  if (!payload.empty()) std::memcpy(at, payload.data(), payload.size());
}

}  // namespace backplane::broker
