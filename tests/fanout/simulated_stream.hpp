#pragma once
// A stream that a test controls.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

#include "fanout/stream.hpp"

namespace backplane::fanout {

/// Accepts `room` bytes in all, then blocks. Provides `input`, then blocks or ends. With `keeps_max`, it
/// accepts more bytes than it sends, as TLS does.
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
    kept.erase(0, send(kept));
    std::size_t taken = 0;
    for (const iovec& piece : pieces) {
      if (!kept.empty()) break;
      const std::string_view bytes(static_cast<const char*>(piece.iov_base), piece.iov_len);
      const std::size_t count = send(bytes);
      kept = bytes.substr(count, keeps_max);
      taken += count + kept.size();
      if (count < bytes.size()) break;
    }
    if (taken > 0 || (pieces.empty() && kept.empty())) return static_cast<ssize_t>(taken);
    errno = EAGAIN;
    return -1;
  }
  [[nodiscard]] std::size_t unsent() const noexcept override { return kept.size(); }

  bool end_output() noexcept override {
    output_ended = true;
    return true;
  }

  std::size_t send(std::string_view bytes) {
    const std::size_t count = std::min(bytes.size(), room);
    output += bytes.substr(0, count);
    if (room != no_limit) room -= count;
    return count;
  }

  std::string input;
  std::size_t read_max{no_limit};
  bool input_ends{};
  std::string output;
  std::size_t room{no_limit};
  std::size_t keeps_max{};
  std::string kept;  ///< accepted, and not sent
  bool output_ended{};
  int error{};
  int writes{};
};

}  // namespace backplane::fanout
