#pragma once
// Splits the bytes of a peer into messages and commands.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/zmtp/fault.hpp"
#include "core/zmtp/limits.hpp"

namespace backplane::zmtp {

/// Assembles frames and messages from bytes that arrive in pieces of any size. Belongs to one connection;
/// keeps at most one incomplete message and one incomplete command. Messages that arrive whole are not
/// copied, and none allocates, unless it needs more than 16 KiB at a time when it is incomplete.
class MessageReader {
 public:
  /// Receives what is complete. The views are valid until the call returns. Each call returns a fault to end
  /// the reading with it.
  class Sink {
   public:
    virtual ~Sink() = default;
    /// @param frames at least one
    virtual Fault on_message(std::span<const std::string_view> frames) = 0;
    /// @param command its name and data; it may arrive between the frames of a message
    virtual Fault on_command(std::string_view command) = 0;
  };

  /// `limits` outlive it.
  /// @param with_commands whether there are commands: not with ZMTP 2.0
  MessageReader(const Limits& limits, bool with_commands) noexcept
      : limits_(limits), with_commands_(with_commands) {}

  /// Calls `sink` for everything that `bytes` complete. @returns what is wrong. After a fault, all bytes are
  /// ignored. Not to be called by `sink`.
  [[nodiscard]] Fault read(std::string_view bytes, Sink& sink);

 private:
  enum class Found : std::uint8_t { fault, incomplete, command, message };
  struct Frame {
    std::size_t at;  ///< of its body, from the message's beginning
    std::size_t size;
  };

  [[nodiscard]] Found scan(std::string_view bytes);
  [[nodiscard]] bool check_frame(unsigned flags, std::uint64_t size);
  [[nodiscard]] Fault give_message(std::string_view bytes, Sink& sink);
  void read_whole(std::string_view& bytes, Sink& sink);
  void complete(std::string_view& bytes, Sink& sink);

  const Limits& limits_;
  std::string partial_;                  // from the beginning of the incomplete message or command
  std::vector<Frame> frames_;            // of that message, as far as they are complete
  std::vector<std::string_view> views_;  // scratch memory
  Frame command_{};                      // the last one found
  std::size_t at_{};                     // of the next frame's head, from the message's beginning
  std::size_t needed_{};                 // bytes from the message's beginning, before scan() can find more
  std::size_t body_bytes_{};             // of frames_
  Fault fault_{Fault::none};
  const bool with_commands_;
};

}  // namespace backplane::zmtp
