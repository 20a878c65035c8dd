#include "core/log/line_writer.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <thread>

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "core/thread/mutex.hpp"

namespace backplane::log {
namespace {

using Clock = std::chrono::steady_clock;

/// What a pipe accepts without mixing it with the lines of other processes (PIPE_BUF).
constexpr std::size_t piece_bytes = 4096;
/// At the end of the process. A reader that has read nothing for this time is not waited for.
constexpr std::chrono::milliseconds exit_limit{500};

std::uint64_t lines_in(std::string_view text) {
  return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

/// The first lines of `text` that fit into one piece; at least one line.
std::string_view next_piece(std::string_view text) {
  if (text.size() <= piece_bytes) return text;
  const std::size_t last = text.rfind('\n', piece_bytes - 1);
  const std::size_t end = last != std::string_view::npos ? last : text.find('\n');
  return text.substr(0, end == std::string_view::npos ? text.size() : end + 1);
}

/// Blocks until `text` is written. @returns false if that is not possible.
bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t bytes = ::write(fd, text.data(), text.size());
    if (bytes > 0) {
      text.remove_prefix(static_cast<std::size_t>(bytes));
    } else if (bytes < 0 && errno == EAGAIN) {
      // Another process that shares the descriptor made it non-blocking.
      pollfd writable{fd, POLLOUT, 0};
      ::poll(&writable, 1, -1);
    } else if (bytes == 0 || errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace

class LineWriter::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(int fd, std::size_t bytes_max) : fd_(fd), bytes_max_(bytes_max) {}

  void set_notice(Notice notice) {
    const MutexLock lock(mutex_);
    notice_ = std::move(notice);
  }

  bool write(std::string_view text, bool counted) {
    const MutexLock lock(mutex_);
    // After the first line that was dropped, no other may take its place: the report comes in its order.
    if (!start() || dropping_ || queue_.size() + text.size() > bytes_max_) {
      if (counted) {
        dropping_ = true;
        drop(lines_in(text));
      }
      return false;
    }
    queue_.append(text);
    changed_.notify_all();
    return true;
  }

  bool flush(std::chrono::milliseconds limit) {
    const auto deadline = Clock::now() + limit;
    const MutexLock lock(mutex_);
    while (!is_idle()) {
      if (!changed_.wait_until(mutex_, deadline)) return is_idle();
    }
    return true;
  }

  [[nodiscard]] bool idle() const {
    const MutexLock lock(mutex_);
    return is_idle();
  }

  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

  void close() {
    const MutexLock lock(mutex_);
    closed_ = true;
    queue_.clear();
    changed_.notify_all();
  }

 private:
  [[nodiscard]] bool is_idle() const REQUIRES(mutex_) { return queue_.empty() && !dropping_ && !writing_; }

  void drop(std::uint64_t lines) REQUIRES(mutex_) {
    dropped_ += lines;
    unreported_ += lines;
  }

  /// Starts the thread if there is none. @returns false if the kernel refuses.
  bool start() REQUIRES(mutex_) {
    if (started_) return true;
    // The thread inherits this mask: signals are for the threads that handle them.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([self = shared_from_this()] { self->run(); }).detach();
      started_ = true;
    } catch (const std::system_error&) {  // too many threads
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started_;
  }

  /// One round of the thread: what to write, and then how many dropped lines to report.
  struct Work {
    std::string lines;
    std::uint64_t dropped{};
    Notice notice;
  };

  void run() {
    Work work;
    while (take(work)) {
      std::string_view rest = work.lines;
      while (!rest.empty() && !is_closed()) {
        const std::string_view piece = next_piece(rest);
        if (!write_all(fd_, piece)) failed(lines_in(piece));
        rest.remove_prefix(piece.size());
      }
      // If this fails, nothing can be reported now. The next round tries again.
      const bool reported = work.dropped > 0 && write_all(fd_, work.notice(work.dropped));
      done(reported ? work.dropped : 0);
    }
  }

  bool take(Work& work) {
    const MutexLock lock(mutex_);
    while (queue_.empty() && !dropping_ && !closed_) {
      (void)changed_.wait_until(mutex_, Clock::time_point::max());
    }
    if (closed_) return false;
    writing_ = true;
    work.lines.clear();
    std::swap(work.lines, queue_);
    dropping_ = false;
    work.dropped = unreported_;
    if (work.dropped > 0) work.notice = notice_;  // called without the lock, because it may take others
    return true;
  }

  void failed(std::uint64_t lines) {
    const MutexLock lock(mutex_);
    drop(lines);
  }

  void done(std::uint64_t reported) {
    const MutexLock lock(mutex_);
    unreported_ -= reported;
    writing_ = false;
    changed_.notify_all();
  }

  bool is_closed() const {
    const MutexLock lock(mutex_);
    return closed_;
  }

  const int fd_;
  const std::size_t bytes_max_;
  std::atomic<std::uint64_t> dropped_{};
  mutable Mutex mutex_;
  CondVar changed_;
  std::string queue_ GUARDED_BY(mutex_);
  Notice notice_ GUARDED_BY(mutex_) = [](std::uint64_t dropped) {
    return fmt::format("backplane: {} lines were dropped here, because they could not be written\n", dropped);
  };
  std::uint64_t unreported_ GUARDED_BY(mutex_){};  // dropped lines
  bool dropping_ GUARDED_BY(mutex_){};             // since the thread took the queue
  bool writing_ GUARDED_BY(mutex_){};
  bool started_ GUARDED_BY(mutex_){};
  bool closed_ GUARDED_BY(mutex_){};
};

LineWriter::LineWriter(int fd, std::size_t bytes_max) : impl_(std::make_shared<Impl>(fd, bytes_max)) {}
LineWriter::~LineWriter() {
  impl_->close();
}
void LineWriter::set_notice(Notice notice) {
  impl_->set_notice(std::move(notice));
}
bool LineWriter::write(std::string_view lines) {
  return impl_->write(lines, true);
}
bool LineWriter::write_uncounted(std::string_view bytes) {
  return impl_->write(bytes, false);
}
bool LineWriter::flush(std::chrono::milliseconds limit) {
  return impl_->flush(limit);
}
bool LineWriter::idle() const {
  return impl_->idle();
}
std::uint64_t LineWriter::dropped() const noexcept {
  return impl_->dropped();
}

// Never destroyed: their threads may be in write() when the process exits.
LineWriter& standard_output() {
  static auto* const writer = new LineWriter(STDOUT_FILENO);
  return *writer;
}
LineWriter& standard_error() {
  static auto* const writer = new LineWriter(STDERR_FILENO);
  return *writer;
}

void flush_standard_streams() noexcept {
  try {
    const auto begin = Clock::now();
    standard_output().flush(exit_limit);
    const auto used = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
    standard_error().flush(std::max(exit_limit - used, std::chrono::milliseconds{0}));
  } catch (const std::exception&) {  // out of memory: there is nothing to be done
  }
}

}  // namespace backplane::log
