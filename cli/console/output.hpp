#pragma once
// Buffered output to standard output or a file.

#include <string>
#include <string_view>

namespace backplane::cli {

/// Buffers bytes, and writes them in large pieces. Lives on the main thread. The constructor makes the whole
/// process ignore SIGPIPE, so that a reader that exits (`| head -3`) is not an error.
class Output {
 public:
  /// @param fd    the descriptor to write to; not owned
  /// @param name  begins the text of problem()
  explicit Output(int fd = 1, std::string name = "standard output");

  /// The buffer to append to. flush() writes it.
  [[nodiscard]] std::string& buffer() noexcept { return buffer_; }
  /// Appends a line.
  void line(std::string_view text) { buffer_.append(text).push_back('\n'); }
  /// Whether the buffer is large enough to be worth a flush().
  [[nodiscard]] bool full() const noexcept;
  /// Writes the whole buffer. Blocks while the reader does not read.
  void flush();

  /// Discards all further output, because its reader has exited.
  void close() noexcept { closed_ = true; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  /// Why writing failed: `standard output: No space left on device`; empty if it did not, or if the reader
  /// exited.
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
  std::string name_;
  std::string buffer_;
  std::string problem_;
  bool closed_{};
};

}  // namespace backplane::cli
