#pragma once
// Frames of a WebSocket client, valid or not.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane::gateway::websocket {

/// One frame of a client. The fields are written as they are, valid or not.
struct ClientFrame {
  unsigned opcode{};
  std::string payload;
  bool final{true};
  unsigned reserved{};  ///< the three bits
  bool masked{true};
  unsigned length_form{};  ///< 2 or 8: bytes for the length; 0: the shortest form

  [[nodiscard]] std::string bytes() const {
    constexpr std::array<unsigned char, 4> mask{0x37, 0xfa, 0x21, 0x3d};
    std::string out{static_cast<char>((final ? 0x80U : 0U) | reserved << 4 | opcode)};
    const std::uint64_t size = payload.size();
    const unsigned form = length_form != 0 ? length_form : size <= 125 ? 0U : size <= 0xffff ? 2U : 8U;
    const auto length = form == 0 ? static_cast<unsigned>(size) : form == 2 ? 126U : 127U;
    out.push_back(static_cast<char>((masked ? 0x80U : 0U) | length));
    for (unsigned i = form; i-- > 0;) out.push_back(static_cast<char>(size >> (8 * i) & 0xff));
    if (!masked) return out + payload;
    for (const unsigned char byte : mask) out.push_back(static_cast<char>(byte));
    for (std::size_t i = 0; i < payload.size(); ++i) {
      out.push_back(static_cast<char>(static_cast<unsigned char>(payload[i]) ^ mask[i % mask.size()]));
    }
    return out;
  }
};

inline std::string text(std::string_view payload, bool final = true) {
  return ClientFrame{.opcode = 1, .payload = std::string(payload), .final = final}.bytes();
}
inline std::string more(std::string_view payload, bool final = true) {
  return ClientFrame{.opcode = 0, .payload = std::string(payload), .final = final}.bytes();
}
inline std::string binary(std::string_view payload) {
  return ClientFrame{.opcode = 2, .payload = std::string(payload)}.bytes();
}
inline std::string ping(std::string_view payload = {}) {
  return ClientFrame{.opcode = 9, .payload = std::string(payload)}.bytes();
}
inline std::string pong(std::string_view payload = {}) {
  return ClientFrame{.opcode = 10, .payload = std::string(payload)}.bytes();
}
inline std::string close(std::string_view payload = {}) {
  return ClientFrame{.opcode = 8, .payload = std::string(payload)}.bytes();
}
inline std::string close(unsigned code, std::string_view reason = {}) {
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  return close(payload.append(reason));
}

}  // namespace backplane::gateway::websocket
