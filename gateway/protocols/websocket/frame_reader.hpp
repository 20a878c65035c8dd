#pragma once
// Splits the bytes of a WebSocket client into messages.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/encode/websocket_frame.hpp"
#include "gateway/session/line_reader.hpp"

namespace backplane::gateway::websocket {

/// Assembles text messages from frames, and frames from bytes that arrive in pieces of any size. Unmasks
/// them, and enforces RFC 6455. Belongs to one session; keeps at most one incomplete message and one control
/// frame.
class FrameReader {
 public:
  /// Why the connection must be closed.
  struct Fault {
    CloseCode code{};
    std::string_view text;  ///< a static string
  };

  /// A message is one line of the line protocol, with the same limits: PUB may be longer.
  explicit FrameReader(LineReader::Limits limits) : limits_(limits) {}

  /// Receives a text message (Opcode::text) in UTF-8, a ping, a pong, or a close whose payload is empty or
  /// begins with a valid code. `payload` is valid until the call returns. @returns whether to continue.
  using OnMessage = std::function<bool(Opcode what, std::string_view payload)>;

  /// Calls `on_message` for everything that `bytes` complete. @returns what the client did wrong. After a
  /// fault, after a close, and after `on_message` has stopped, all bytes are ignored.
  [[nodiscard]] std::optional<Fault> read(std::string_view bytes, const OnMessage& on_message);

 private:
  static constexpr std::size_t head_bytes_max = 14;

  void take_head(std::string_view& bytes);
  void check_first_byte(unsigned byte);
  void check_second_byte(unsigned byte);
  void check_length();
  void check_limit();
  void take_payload(std::string_view& bytes);
  void check_text();
  void check_close();
  void end_frame(const OnMessage& on_message);
  void fail(CloseCode code, std::string_view text) noexcept;
  [[nodiscard]] bool in_control() const noexcept { return opcode_ >= Opcode::close; }
  [[nodiscard]] std::size_t limit() const noexcept;

  LineReader::Limits limits_;
  std::string message_;    // of the frames so far, unmasked
  std::string control_;    // the payload of a control frame
  std::size_t checked_{};  // bytes of the message that are known to be UTF-8
  std::uint64_t left_{};   // bytes of the frame's payload that have not arrived
  std::optional<Fault> fault_;
  std::array<unsigned char, head_bytes_max> head_{};
  std::uint8_t head_size_{};
  std::uint8_t head_needed_{2};
  std::uint8_t mask_at_{};  // index of the mask byte for the next payload byte
  Opcode opcode_{};
  bool final_{};
  bool in_message_{};  // the last frame was not final
  bool stopped_{};
};

}  // namespace backplane::gateway::websocket
