#pragma once
// Standard output as scripts want it: whole lines, and no complaint where nobody reads any more.

#include <string>
#include <string_view>

namespace backplane::cli {

/// Gathers bytes and hands them over in large pieces. Lives on the main thread. SIGPIPE is ignored from its
/// making on, for the whole process: `| head -3` is an end, not a failure.
class Output {
 public:
  /// @param fd    where to; not owned
  /// @param name  begins what is told of problems
  explicit Output(int fd = 1, std::string name = "standard output");

  /// To append to. Bytes go out with flush().
  [[nodiscard]] std::string& buffer() noexcept { return buffer_; }
  /// Appends a line.
  void line(std::string_view text) { buffer_.append(text).push_back('\n'); }
  /// Whether there is enough to be worth a flush().
  [[nodiscard]] bool full() const noexcept;
  /// Writes all there is. Blocks while the other side does not read.
  void flush();

  /// The other side has gone: there is nobody to write for.
  void close() noexcept { closed_ = true; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  /// What went wrong but for a reader that has gone: `standard output: No space left on device`; or empty.
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
