#pragma once
// Splits bytes into lines.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace backplane::gateway {

/// Assembles lines from bytes that arrive in pieces of any size. A line ends in LF or CRLF, which is removed.
/// Belongs to one session; keeps at most one incomplete line.
class LineReader {
 public:
  /// PUB lines carry an event and may be longer than others.
  struct Limits {
    std::size_t line_bytes_max = 64u << 10;
    std::size_t publish_bytes_max = 1u << 20;
  };

  explicit LineReader(Limits limits) : limits_(limits) {}

  /// `line` is valid until the call returns. `too_long`: it is only the beginning of a line; the rest, up to
  /// the next LF, is skipped. @returns whether to continue.
  using OnLine = std::function<bool(std::string_view line, bool too_long)>;

  /// Calls `on_line` for each line that `bytes` complete. If `on_line` stops, @returns the bytes after that
  /// line, which may belong to another protocol; else nothing.
  std::string_view read(std::string_view bytes, const OnLine& on_line);
  /// The input has ended: bytes without an LF are a line too.
  void finish(const OnLine& on_line);

 private:
  [[nodiscard]] std::size_t limit(std::string_view line) const noexcept;
  bool give(std::string_view line, const OnLine& on_line) const;

  Limits limits_;
  std::string partial_;
  bool skipping_{};  // the rest of a line that is too long
};

}  // namespace backplane::gateway
