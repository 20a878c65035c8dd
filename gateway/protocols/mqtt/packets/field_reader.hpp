#pragma once
// Reads the data types of MQTT from a packet.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/wire/scan.hpp"
#include "gateway/protocols/mqtt/packets/reason_code.hpp"

namespace backplane::gateway::mqtt {

/// What is wrong with a packet.
struct Fault {
  ReasonCode reason{};
  std::string_view text;  ///< for people; a static string
};

/// Reads from the beginning of some bytes, which outlive what it returns. The first fault stays: from then
/// on, everything that is read is empty or 0.
class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) noexcept : bytes_(bytes) {}

  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] const std::optional<Fault>& fault() const noexcept { return fault_; }
  [[nodiscard]] bool ok() const noexcept { return !fault_; }

  void fail(ReasonCode reason, std::string_view text) noexcept {
    if (!fault_) fault_ = Fault{reason, text};
    bytes_ = {};
  }

  std::uint8_t byte() noexcept { return static_cast<std::uint8_t>(number(1)); }
  std::uint16_t two_bytes() noexcept { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t four_bytes() noexcept { return number(4); }

  /// A variable byte integer in its shortest form.
  std::uint32_t varint() noexcept {
    std::uint32_t value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
      const std::uint8_t next = byte();
      if (fault_) return 0;
      value |= static_cast<std::uint32_t>(next & 0x7fU) << shift;
      if ((next & 0x80U) != 0) continue;
      if (next == 0 && shift > 0) {
        fail(ReasonCode::malformed_packet, "a variable byte integer is not in its shortest form");
        return 0;
      }
      return value;
    }
    fail(ReasonCode::malformed_packet, "a variable byte integer has more than 4 bytes");
    return 0;
  }

  std::string_view binary() noexcept { return take(two_bytes()); }

  /// UTF-8 without U+0000.
  std::string_view string() noexcept {
    const std::string_view text = binary();
    if (fault_) return {};
    if (!wire::is_utf8(text)) {
      fail(ReasonCode::malformed_packet, "a string is not UTF-8");
      return {};
    }
    if (text.find('\0') != std::string_view::npos) {
      fail(ReasonCode::malformed_packet, "a string has U+0000");
      return {};
    }
    return text;
  }

  std::string_view take(std::size_t count) noexcept {
    if (fault_ || count > bytes_.size()) {
      fail(ReasonCode::malformed_packet, "the packet ends within a field");
      return {};
    }
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  std::string_view rest() noexcept { return take(bytes_.size()); }

 private:
  std::uint32_t number(std::size_t count) noexcept {
    std::uint32_t value = 0;
    for (const char each : take(count)) value = value << 8U | static_cast<unsigned char>(each);
    return value;
  }

  std::string_view bytes_;
  std::optional<Fault> fault_;
};

}  // namespace backplane::gateway::mqtt
