#pragma once
// Cuts a stream of bytes into lines of bounded length.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane::sources {

/// Holds at most one line, as far as it has come. Belongs to one thread.
class LineSplitter {
 public:
  explicit LineSplitter(std::size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

  /// What take_line() goes on with. The bytes must stay until it has returned false.
  void feed(std::string_view bytes) noexcept { bytes_ = bytes; }
  /// The next whole line, without LF or CRLF. @returns false where there is none yet.
  [[nodiscard]] bool take_line();
  /// The last line, which has no end. To be asked once, after everything was fed. @returns whether there is
  /// one.
  [[nodiscard]] bool take_rest();

  /// Of the line taken last. The text holds until the next call.
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  /// How many bytes of what was fed lie before its end, its line end included.
  [[nodiscard]] std::uint64_t end() const noexcept { return end_; }
  /// Whether it was longer than allowed; then its text is not kept.
  [[nodiscard]] bool too_long() const noexcept { return too_long_; }

 private:
  void keep(std::string_view part);
  void finish_line();

  std::size_t line_bytes_max_;
  std::string_view bytes_;
  std::string pending_;
  bool pending_too_long_{};
  bool pending_any_{};
  std::string text_;
  bool too_long_{};
  std::uint64_t number_{};
  std::uint64_t fed_{};  // bytes, without those that are still in bytes_
  std::uint64_t end_{};
};

}  // namespace backplane::sources
