#pragma once
// Bytes from a WebSocket client into messages.

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

/// Puts text messages together from frames, and frames from bytes that come in any pieces; unmasks them, and
/// holds the client to RFC 6455. Belongs to one session; holds at most one message and one control frame.
class FrameReader {
 public:
  /// Why the connection must end.
  struct Fault {
    CloseCode code{};
    std::string_view text;  ///< never freed
  };

  /// A message is one line of the line protocol and has its limits: PUB may be longer.
  explicit FrameReader(LineReader::Limits limits) : limits_(limits) {}

  /// What has come: a text message (Opcode::text) in UTF-8, a ping, a pong, or a close with a payload that is
  /// empty or begins with a code that may be sent. `payload` holds until the call returns. @returns whether
  /// to go on.
  using OnMessage = std::function<bool(Opcode what, std::string_view payload)>;

  /// Calls `on_message` for all that `bytes` end. @returns what the client did wrong. Behind that, behind a
  /// close, and where `on_message` did not go on, nothing more is taken, now or later.
  [[nodiscard]] std::optional<Fault> feed(std::string_view bytes, const OnMessage& on_message);

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
  std::size_t checked_{};  // of the message, known to be UTF-8
  std::uint64_t left_{};   // of the frame's payload
  std::optional<Fault> fault_;
  std::array<unsigned char, head_bytes_max> head_{};
  std::uint8_t head_size_{};
  std::uint8_t head_wanted_{2};
  std::uint8_t mask_at_{};  // which of the mask's bytes is next
  Opcode opcode_{};
  bool final_{};
  bool in_message_{};  // a frame that was not final has come
  bool stopped_{};
};

}  // namespace backplane::gateway::websocket
