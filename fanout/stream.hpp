#pragma once
// The byte stream between a client and its peer.

#include <span>

#include <sys/types.h>
#include <sys/uio.h>

namespace backplane::fanout {

/// A byte stream that never blocks: a socket, or a simulated one in tests. The results are those of recv()
/// and sendmsg(): a number of bytes, or -1 and errno.
class Stream {
 public:
  virtual ~Stream() = default;
  /// @returns 0 if the peer will send no more
  [[nodiscard]] virtual ssize_t read(std::span<char> into) noexcept = 0;
  [[nodiscard]] virtual ssize_t write(std::span<const iovec> pieces) noexcept = 0;
  /// Shuts the output down: the peer sees its end.
  virtual void end_output() noexcept = 0;
};

}  // namespace backplane::fanout
