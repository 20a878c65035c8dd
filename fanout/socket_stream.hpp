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
  void end_output() noexcept override;
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

  /// Sets what suits many small messages. A client that has vanished without a word is found within some
  /// two minutes, also where nothing is ever written to it. Each option only tunes: a kernel that refuses
  /// one serves the client as well.
  /// @param unsent_bytes_max what the kernel may hold unsent: a stalled client would else pin megabytes
  void tune(int unsent_bytes_max) noexcept;

 private:
  Descriptor socket_;
};

}  // namespace backplane::fanout
