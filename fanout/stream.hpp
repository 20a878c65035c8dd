#pragma once
// Where a session's bytes come from and go to.

#include <span>

#include <sys/types.h>
#include <sys/uio.h>

namespace backplane::fanout {

/// A byte stream that never blocks: a socket, or in a test whatever plays one. The results are those of
/// recv and sendmsg: a number of bytes, or -1 and errno.
class Stream {
 public:
  virtual ~Stream() = default;
  /// 0: the other side will send no more.
  [[nodiscard]] virtual ssize_t read(std::span<char> into) noexcept = 0;
  [[nodiscard]] virtual ssize_t write(std::span<const iovec> pieces) noexcept = 0;
  /// Tells the other side that nothing more will come.
  virtual void end_output() noexcept = 0;
};

}  // namespace backplane::fanout
