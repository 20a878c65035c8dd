#pragma once
// Buffered output to standard output or a file.

#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "cli/connection/waiter.hpp"
#include "core/process/descriptor.hpp"

namespace backplane::cli {

/// Buffers bytes, and writes them in large pieces. Lives on the main thread. The constructor makes the whole
/// process ignore SIGPIPE, so that a reader that exits (`| head -3`) is not an error, and SIGXFSZ, so that a
/// file that is too large is one. A terminal that closes is a reader that exits, too.
class Output {
 public:
  /// @param fd      the descriptor to write to; not owned
  /// @param name    begins the text of problem()
  /// @param waiter  may stop a flush() that blocks; nullptr: nothing stops it
  explicit Output(int fd = 1, std::string name = "standard output", Waiter* waiter = nullptr);

  /// The buffer to append to. flush() writes it.
  [[nodiscard]] std::string& buffer() noexcept { return buffer_; }
  /// Appends a line.
  void line(std::string_view text) { buffer_.append(text).push_back('\n'); }
  /// Whether the buffer is large enough to be worth a flush().
  [[nodiscard]] bool full() const noexcept;
  /// Writes the whole buffer. Blocks while the reader does not read. If the waiter is stopped, for example by
  /// a signal, the reader has 500 ms to read the rest; then it is discarded.
  void flush();

  /// Discards all further output, because its reader has exited.
  void close() noexcept { closed_ = true; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  /// Why writing failed: `standard output: No space left on device`; empty if it did not, or if the reader
  /// exited.
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  enum class Kind {
    file,  ///< writing does not wait for another program
    own,   ///< a pipe or terminal, through own_
    socket,
    may_block  ///< a pipe or terminal that cannot be opened again
  };
  [[nodiscard]] bool wait_writable();
  [[nodiscard]] ssize_t write(std::string_view bytes) const noexcept;
  [[nodiscard]] bool terminal_closed(int error) const noexcept;

  int fd_;
  Kind kind_ = Kind::file;
  Descriptor own_;  // the same pipe or terminal, non-blocking
  Waiter* waiter_;
  std::optional<Waiter::Clock::time_point> stop_at_;
  std::string name_;
  std::string buffer_;
  std::string problem_;
  bool closed_{};
};

}  // namespace backplane::cli
