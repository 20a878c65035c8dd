#pragma once
// A whole terminal, for as long as somebody looks at it.

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

/// Takes the terminal over (its other screen, where it has one) and gives it back as it was on destruction.
/// Lives on the main thread; there is one at a time.
class Screen {
 public:
  enum class Key : std::uint8_t { none, quit, other };

  /// Whether standard input and output are a terminal that can show pictures.
  [[nodiscard]] static bool available();

  /// Throws std::runtime_error where the terminal cannot do it.
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// As the terminal is now; it may change at any time.
  [[nodiscard]] ScreenSize size() const;
  /// Shows these lines from the top, cut to the screen. Text is UTF-8 without control characters.
  void show(const std::vector<ScreenLine>& lines);
  /// The next key that was pressed, without waiting. `q`, `Q` and Escape quit.
  [[nodiscard]] Key key();
  /// Readable when there is a key.
  [[nodiscard]] static int fd() noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::cli
