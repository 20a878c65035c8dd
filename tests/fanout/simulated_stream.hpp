#pragma once
// A stream that a test controls.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <limits>
#include <string>

#include "fanout/stream.hpp"

namespace backplane::fanout {

/// Accepts `room` bytes in all, then blocks. Provides `input`, then blocks or ends.
class SimulatedStream final : public Stream {
 public:
  static constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();

  ssize_t read(std::span<char> into) noexcept override {
    const std::size_t count = std::min({into.size(), input.size(), read_max});
    if (count == 0) {
      if (input_ends && input.empty()) return 0;
      errno = EAGAIN;
      return -1;
    }
    std::copy_n(input.begin(), count, into.begin());
    input.erase(0, count);
    return static_cast<ssize_t>(count);
  }

  ssize_t write(std::span<const iovec> pieces) noexcept override {
    ++writes;
    if (error != 0) {
      errno = error;
      return -1;
    }
    std::size_t taken = 0;
    for (const iovec& piece : pieces) {
      const std::size_t count = std::min(piece.iov_len, room);
      output.append(static_cast<const char*>(piece.iov_base), count);
      taken += count;
      if (room != no_limit) room -= count;
      if (count < piece.iov_len) break;
    }
    if (taken > 0) return static_cast<ssize_t>(taken);
    errno = EAGAIN;
    return -1;
  }

  void end_output() noexcept override { output_ended = true; }

  std::string input;
  std::size_t read_max{no_limit};
  bool input_ends{};
  std::string output;
  std::size_t room{no_limit};
  bool output_ended{};
  int error{};
  int writes{};
};

}  // namespace backplane::fanout
