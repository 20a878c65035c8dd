#pragma once
// The connection by which an event came.

#include <cstdint>

#include <zmq.hpp>

namespace backplane::broker {

/// Identifies the connection of a publisher. 0: unknown (inproc has none). Unique among the open connections
/// of a socket; a later connection may get the number of one that has closed.
enum class Peer : std::uintptr_t {};

/// Takes some nanoseconds, allocates nothing.
[[nodiscard]] Peer peer_of(zmq::message_t& message) noexcept;

/// The descriptor of the connection, perhaps closed by now; -1: unknown. Takes some nanoseconds.
[[nodiscard]] int descriptor_of(zmq::message_t& message) noexcept;

/// The socket of a connection, to find out later whether it is still open.
class PeerSocket {
 public:
  PeerSocket() noexcept = default;
  /// The socket by which `message` came. A system call.
  explicit PeerSocket(zmq::message_t& message) noexcept;
  /// A system call. A connection whose other end is gone counts as open until TCP's keepalive shows
  /// that.
  [[nodiscard]] bool is_open() const noexcept;
  /// Ends the connection, if it is open: libzmq, which owns the socket, closes it when it reads the end of
  /// the input.
  void shut_down() const noexcept;

 private:
  int descriptor_{-1};
  std::uint64_t inode_{};
};

}  // namespace backplane::broker
