#pragma once
// Bytes into lines.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace backplane::gateway {

/// Puts lines together from bytes that come in any pieces. A line ends in LF or CRLF and is given
/// without it. Belongs to one session; holds at most one line.
class LineReader {
 public:
  /// PUB lines carry an event and so may be longer.
  struct Limits {
    std::size_t line_bytes_max = 64u << 10;
    std::size_t publish_bytes_max = 1u << 20;
  };

  explicit LineReader(Limits limits) : limits_(limits) {}

  /// `line` holds until the call returns. `too_long`: only the beginning of it is there; the rest, up to
  /// the next LF, is passed over. @returns whether to go on.
  using OnLine = std::function<bool(std::string_view line, bool too_long)>;

  /// Calls `on_line` for each line that `bytes` end. @returns what follows the line at which `on_line` did
  /// not go on, which may be another protocol's; else nothing.
  std::string_view feed(std::string_view bytes, const OnLine& on_line);
  /// No more bytes come: what is there without an LF is a line too.
  void finish(const OnLine& on_line);

 private:
  [[nodiscard]] std::size_t limit(std::string_view line) const noexcept;
  bool give(std::string_view line, const OnLine& on_line) const;

  Limits limits_;
  std::string partial_;
  bool skipping_{};  // the rest of a line that was too long
};

}  // namespace backplane::gateway
