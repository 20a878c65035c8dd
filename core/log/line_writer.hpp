#pragma once
// Lines to a descriptor whose reader may not read.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace backplane::log {

/// Writes lines to standard output or standard error without blocking its callers: a full pipe, a terminal
/// stopped by Ctrl-S or a slow disk delays only a thread of its own, which starts with the first line. Lines
/// that do not fit into the queue are dropped and counted; when output is possible again, one line reports
/// how many. docs/decisions/0016 explains why. Any thread may call its methods.
class LineWriter {
 public:
  /// Makes the line that reports `dropped` lines, with its line end. Called on the writer's thread.
  using Notice = std::function<std::string(std::uint64_t dropped)>;
  static constexpr std::size_t usual_bytes_max = 256u << 10;

  /// @param fd         not owned
  /// @param bytes_max  the size of the queue
  explicit LineWriter(int fd, std::size_t bytes_max = usual_bytes_max);
  /// Discards what is queued and does not wait: the thread ends as soon as its last write has returned.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  /// Replaces the line that reports dropped lines. The default names the program.
  void set_notice(Notice notice);

  /// Queues one or more lines, each with its line end, and returns at once. They are dropped together if they
  /// do not fit. @returns whether they were queued.
  bool write(std::string_view lines);
  /// The same for bytes that may be dropped without being counted or reported, such as a status line.
  bool write_uncounted(std::string_view bytes);

  /// Blocks until everything queued has been written or could not be written, at most for `limit`.
  /// @returns false at the limit.
  bool flush(std::chrono::milliseconds limit);
  /// Whether nothing is queued or being written.
  [[nodiscard]] bool idle() const;
  /// Lines dropped so far: the queue was full, or writing failed.
  [[nodiscard]] std::uint64_t dropped() const noexcept;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // also owned by the thread, which may still be in write()
};

/// The writers of this process. They live until it ends.
LineWriter& standard_output();
LineWriter& standard_error();

/// For the end of main: waits until the queued lines of both are written, briefly if nobody reads them.
void flush_standard_streams() noexcept;

}  // namespace backplane::log
