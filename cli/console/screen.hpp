#pragma once
// The whole screen of a terminal.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace backplane::cli {

/// One line of a picture.
struct ScreenLine {
  enum class Style : std::uint8_t { plain, heading, alarm };
  std::string text;
  Style style = Style::plain;
};

struct ScreenSize {
  std::size_t rows{};
  std::size_t columns{};
};

/// Takes over the terminal (its alternate screen, if it has one). The destructor restores it. Lives on the
/// main thread; only one exists at a time.
class Screen {
 public:
  enum class Key : std::uint8_t { none, quit, other };

  /// Whether standard input and standard output are a terminal.
  [[nodiscard]] static bool available();

  /// Throws std::runtime_error if the terminal cannot show a full screen.
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// The present size of the terminal, which may change at any time.
  [[nodiscard]] ScreenSize size() const;
  /// Shows these lines from the top, cut to the screen. Text is UTF-8 without control characters.
  void show(const std::vector<ScreenLine>& lines);
  /// The next key that was pressed, without blocking. `q`, `Q` and Escape are quit.
  [[nodiscard]] Key key();
  /// Readable when a key was pressed.
  [[nodiscard]] static int fd() noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::cli
