#pragma once
// What a peer may send, at most.

#include <cstddef>

namespace backplane::zmtp {

/// The limits of one connection. Nothing that a peer announces (the length of a frame, that more frames
/// follow) reserves memory: a connection keeps at most the bytes of one incomplete message or command.
struct Limits {
  std::size_t frame_bytes_max = 1u << 20;
  /// All frames of a message together.
  std::size_t message_bytes_max = (1u << 20) + (64u << 10);
  std::size_t frames_max = 64;                ///< of a message
  std::size_t command_bytes_max = 8u << 10;   ///< a command with its name; under CURVE, when it is decrypted
  std::size_t subscription_bytes_max = 1024;  ///< the prefix
  std::size_t identity_bytes_max = 255;
};

}  // namespace backplane::zmtp
