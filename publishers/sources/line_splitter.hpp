#pragma once
// Cuts a stream of bytes into lines of bounded length.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane::sources {

/// Stores at most one incomplete line. Belongs to one thread.
class LineSplitter {
 public:
  struct Options {
    bool at_beginning = true;        ///< a UTF-8 byte order mark before the first line is removed
    bool skip_leading_nuls = false;  ///< see GrowingFile
  };
  explicit LineSplitter(std::size_t line_bytes_max) : LineSplitter(line_bytes_max, Options()) {}
  LineSplitter(std::size_t line_bytes_max, Options options)
      : line_bytes_max_(line_bytes_max), options_(options) {}

  /// Sets the bytes that take_line() continues with. They must stay valid until take_line() returns false.
  void feed(std::string_view bytes) noexcept { bytes_ = bytes; }
  /// Takes the next whole line, without LF or CRLF. @returns false if there is none yet.
  [[nodiscard]] bool take_line();
  /// Takes the last line if it has no line end. Call it once, after all bytes were fed. @returns whether
  /// there is one.
  [[nodiscard]] bool take_rest();

  /// The line taken last. The text is valid until the next call.
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  /// How many bytes were fed up to the end of that line, including its line end.
  [[nodiscard]] std::uint64_t end() const noexcept { return end_; }
  /// Whether that line was too long; its text is then empty.
  [[nodiscard]] bool too_long() const noexcept { return too_long_; }

 private:
  void keep(std::string_view part);
  void finish_line();

  std::size_t line_bytes_max_;
  Options options_;
  std::string_view bytes_;
  std::string pending_;
  bool pending_too_long_{};
  bool pending_any_{};
  std::string text_;
  bool too_long_{};
  std::uint64_t number_{};
  std::uint64_t fed_{};  // bytes consumed, without those still in bytes_
  std::uint64_t end_{};
};

}  // namespace backplane::sources
