#pragma once
// Parses one packet.

#include <string_view>

#include <tl/expected.hpp>

#include "gateway/protocols/mqtt/packets/packet.hpp"

namespace backplane::gateway::mqtt {

/// One packet as PacketReader splits it off.
struct RawPacket {
  PacketType type{};
  std::uint8_t flags{};        ///< the lower half of the first byte
  bool shortest_length{true};  ///< its length was in its shortest form, which 5.0 requires
  std::string_view body;       ///< everything after the fixed header
};

/// Parses a packet, of any type and in either direction. Enforces everything in the specification that one
/// packet alone shows; the rest is up to the session. Accepts any bytes.
/// @param version ignored for CONNECT, which has its own
/// @returns the packet, whose views point into `raw.body`; or what is wrong
[[nodiscard]] tl::expected<Packet, Fault> parse_packet(Version version, const RawPacket& raw);

/// Whether a topic name or filter has wildcards.
[[nodiscard]] inline bool has_wildcards(std::string_view topic) noexcept {
  return topic.find_first_of("+#") != std::string_view::npos;
}
/// Whether the wildcards of a filter are whole levels, and `#` is the last one (chapter 4.7.1).
[[nodiscard]] bool is_filter(std::string_view filter) noexcept;

}  // namespace backplane::gateway::mqtt
