#pragma once
// A TCP socket as a stream.

#include <span>
#include <utility>

#include <sys/types.h>
#include <sys/uio.h>

#include "core/process/descriptor.hpp"
#include "fanout/stream.hpp"

namespace backplane::fanout {

/// Owns a non-blocking socket.
class SocketStream final : public Stream {
 public:
  explicit SocketStream(Descriptor socket) noexcept : socket_(std::move(socket)) {}
  ssize_t read(std::span<char> into) noexcept override;
  ssize_t write(std::span<const iovec> pieces) noexcept override;
  [[nodiscard]] bool end_output() noexcept override;
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

  /// Sets options for many small messages. With keep-alive, a peer that has vanished is detected within about
  /// two minutes, even if nothing is written to it. Errors are ignored: the client works without any of these
  /// options.
  /// @param unsent_bytes_max what the kernel may buffer unsent: a stalled client would otherwise occupy
  /// megabytes
  void tune(int unsent_bytes_max) noexcept;

 private:
  Descriptor socket_;
};

}  // namespace backplane::fanout
