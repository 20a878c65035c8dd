#include "gateway/protocols/mqtt/packets/packet_reader.hpp"

#include <algorithm>
#include <utility>

namespace backplane::gateway::mqtt {
namespace {

constexpr std::size_t length_bytes_max = 4;

}  // namespace

std::optional<Fault> PacketReader::stop(ReasonCode reason, std::string_view text) noexcept {
  stopped_ = true;
  begun_ = {};
  return Fault{reason, text};
}

/// @returns nothing after a fault, which it sets.
std::optional<PacketReader::Head> PacketReader::read_head(std::string_view bytes) {
  const auto first = static_cast<unsigned char>(bytes.front());
  if (first >> 4U == 0) {
    fault_ = stop(ReasonCode::malformed_packet, "the type of packet is reserved");
    return std::nullopt;
  }
  std::size_t length = 0;
  for (std::size_t i = 0; i < length_bytes_max; ++i) {
    if (1 + i >= bytes.size()) return Head{};
    const auto next = static_cast<unsigned char>(bytes[1 + i]);
    length |= static_cast<std::size_t>(next & 0x7fU) << (7 * i);
    if ((next & 0x80U) != 0) continue;
    const Head head{2 + i, 2 + i + length, next != 0 || i == 0};
    if (head.packet > bytes_max_) {
      fault_ = stop(ReasonCode::packet_too_large, "the packet is above the maximum packet size");
      return std::nullopt;
    }
    return head;
  }
  fault_ = stop(ReasonCode::malformed_packet, "the remaining length has more than 4 bytes");
  return std::nullopt;
}

bool PacketReader::take(std::string_view packet, const Head& head, const OnPacket& on_packet) {
  const auto first = static_cast<unsigned char>(packet.front());
  stopped_ = !on_packet({static_cast<PacketType>(first >> 4U), static_cast<std::uint8_t>(first & 0xfU),
                         head.shortest, packet.substr(head.bytes)});
  return !stopped_;
}

std::optional<Fault> PacketReader::read(std::string_view bytes, const OnPacket& on_packet) {
  while (!stopped_ && !bytes.empty()) {
    if (begun_.empty()) {
      const auto head = read_head(bytes);
      if (!head) return fault_;
      if (head->bytes > 0 && head->packet <= bytes.size()) {
        if (!take(bytes.substr(0, head->packet), *head, on_packet)) return std::nullopt;
        bytes.remove_prefix(head->packet);
        continue;
      }
    }
    // What is missing: the rest of the head, byte by byte, or the rest of the packet.
    const auto known = begun_.empty() ? Head{} : *read_head(begun_);
    const std::size_t wanted = known.bytes == 0 ? begun_.size() + 1 : known.packet;
    const std::size_t count = std::min(wanted - begun_.size(), bytes.size());
    begun_.append(bytes.substr(0, count));
    bytes.remove_prefix(count);
    const auto head = read_head(begun_);
    if (!head) return fault_;
    if (head->bytes == 0 || begun_.size() < head->packet) continue;
    const std::string packet = std::exchange(begun_, {});
    if (!take(packet, *head, on_packet)) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace backplane::gateway::mqtt
