#pragma once
// Splits bytes into lines.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "gateway/session/telnet_commands.hpp"

namespace backplane::gateway {

/// Assembles lines from bytes that arrive in pieces of any size. A line ends in LF, CR LF, CR NUL or CR,
/// which is removed: devices behind serial bridges send CR, and telnet CR NUL. A line that ends in CR is
/// complete at once, because nothing may follow. Telnet's commands are removed, and answered by
/// take_telnet_replies(). Belongs to one session; keeps at most one incomplete line.
class LineReader {
 public:
  /// PUB lines carry an event and may be longer than others.
  struct Limits {
    std::size_t line_bytes_max = 64u << 10;
    std::size_t publish_bytes_max = 1u << 20;
  };

  explicit LineReader(Limits limits) : limits_(limits) {}

  /// `line` is valid until the call returns. `too_long`: it is only the beginning of a line; the rest, up to
  /// the line's end, is skipped. @returns whether to continue.
  using OnLine = std::function<bool(std::string_view line, bool too_long)>;

  /// Calls `on_line` for each line that `bytes` complete. If `on_line` stops, @returns the bytes after that
  /// line, which may belong to another protocol; else nothing.
  std::string_view read(std::string_view bytes, const OnLine& on_line);
  /// For the bytes that arrive after read() has stopped: without the LF or NUL that belongs to the last line.
  [[nodiscard]] std::string_view rest_of_line_end(std::string_view bytes) noexcept;
  /// The input has ended: bytes without a line end are a line too.
  void finish(const OnLine& on_line);

  /// What to send to a telnet client, since the last call.
  [[nodiscard]] std::string take_telnet_replies() noexcept { return telnet_.take_replies(); }

 private:
  [[nodiscard]] std::size_t limit(std::string_view line) const noexcept;
  bool give(std::string_view line, const OnLine& on_line) const;
  bool add(std::string_view run, bool ends, const OnLine& on_line);

  Limits limits_;
  std::string partial_;
  TelnetCommands telnet_;
  bool skipping_{};  // the rest of a line that is too long
  bool after_cr_{};  // an LF or NUL that follows belongs to the line that has ended
};

}  // namespace backplane::gateway
