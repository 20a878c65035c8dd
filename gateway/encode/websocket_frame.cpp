#include "gateway/encode/websocket_frame.hpp"

#include <algorithm>
#include <array>

#include "core/error/error.hpp"

namespace backplane::gateway::websocket {
namespace {

constexpr unsigned final_frame = 0x80;
constexpr std::size_t short_length_max = 125;
constexpr unsigned length_in_2_bytes = 126;
constexpr unsigned length_in_8_bytes = 127;

/// The bytes of a frame before its payload.
class Head {
 public:
  Head(Opcode opcode, std::size_t payload_bytes) noexcept {
    add(final_frame | static_cast<unsigned>(opcode));
    if (payload_bytes <= short_length_max) {
      add(static_cast<unsigned>(payload_bytes));
    } else if (payload_bytes <= 0xffff) {
      add(length_in_2_bytes);
      add_big_endian(payload_bytes, 2);
    } else {
      add(length_in_8_bytes);
      add_big_endian(payload_bytes, 8);
    }
  }
  [[nodiscard]] std::string_view bytes() const noexcept { return {bytes_.data(), size_}; }

 private:
  void add(unsigned byte) noexcept { bytes_[size_++] = static_cast<char>(byte); }
  void add_big_endian(std::uint64_t value, unsigned bytes) noexcept {
    while (bytes-- > 0) add(static_cast<unsigned>(value >> (8 * bytes) & 0xff));
  }

  std::array<char, 10> bytes_{};
  std::size_t size_{};
};

/// The first `bytes_max` bytes of `text`, or fewer: no character is cut.
std::string_view cut(std::string_view text, std::size_t bytes_max) noexcept {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xc0U) == 0x80U) --bytes_max;
  return text.substr(0, bytes_max);
}

}  // namespace

void append_frame(Opcode opcode, std::string_view payload, std::string& out) {
  CHECK(opcode < Opcode::close || payload.size() <= control_bytes_max,
        "a control frame has at most 125 bytes");
  out.append(Head(opcode, payload.size()).bytes()).append(payload);
}

void append_close(CloseCode code, std::string_view reason, std::string& out) {
  const auto number = static_cast<std::uint16_t>(code);
  std::string payload{static_cast<char>(number >> 8), static_cast<char>(number & 0xff)};
  payload.append(cut(reason, control_bytes_max - payload.size()));
  append_frame(Opcode::close, payload, out);
}

void frame_lines(std::size_t from, std::string& out) {
  while (from < out.size()) {
    const std::size_t end = std::min(out.find('\n', from), out.size());
    if (end < out.size()) out.erase(end, 1);
    const Head head(Opcode::text, end - from);
    out.insert(from, head.bytes());
    from = end + head.bytes().size();
  }
}

}  // namespace backplane::gateway::websocket
