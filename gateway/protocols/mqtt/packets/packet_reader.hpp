#pragma once
// Splits the bytes of an MQTT client into packets.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/protocols/mqtt/packets/packet_parser.hpp"

namespace backplane::gateway::mqtt {

/// Assembles packets from bytes that arrive in pieces of any size. Keeps at most one incomplete packet, and
/// takes memory only for bytes that have arrived. Belongs to one session.
class PacketReader {
 public:
  /// @param bytes_max the longest packet, with its fixed header
  explicit PacketReader(std::size_t bytes_max) noexcept : bytes_max_(bytes_max) {}

  /// Applies from the next packet on.
  void set_bytes_max(std::size_t bytes_max) noexcept { bytes_max_ = bytes_max; }

  /// Receives a packet, which is valid until the call returns. @returns whether to continue.
  using OnPacket = std::function<bool(const RawPacket& packet)>;

  /// Calls `on_packet` for each packet that `bytes` complete. @returns what the client did wrong. After a
  /// fault, and after `on_packet` has stopped, all bytes are ignored.
  [[nodiscard]] std::optional<Fault> read(std::string_view bytes, const OnPacket& on_packet);

  /// Whether no packet is incomplete.
  [[nodiscard]] bool at_boundary() const noexcept { return begun_.empty(); }

 private:
  /// The fixed header at the beginning of some bytes.
  struct Head {
    std::size_t bytes{};   ///< of the fixed header; 0: incomplete
    std::size_t packet{};  ///< bytes of the whole packet
    bool shortest{};
  };
  [[nodiscard]] std::optional<Head> read_head(std::string_view bytes);
  bool take(std::string_view packet, const Head& head, const OnPacket& on_packet);
  std::optional<Fault> stop(ReasonCode reason, std::string_view text) noexcept;

  std::size_t bytes_max_;
  std::string begun_;  // an incomplete packet
  std::optional<Fault> fault_;
  bool stopped_{};
};

}  // namespace backplane::gateway::mqtt
