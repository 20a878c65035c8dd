#pragma once
// Colours on a terminal.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/credentials/given_credentials.hpp"

namespace backplane::cli {

enum class Style : std::uint8_t { plain, heading, topic, good, warning, error };

/// Colours text that goes to a terminal; anywhere else, text stays as it is. A value.
class Colours {
 public:
  /// @param fd  the descriptor to which the text goes. Without colours: if that is no terminal, if NO_COLOR
  /// is
  ///            set to anything but an empty text (no-color.org), or if TERM is not set or `dumb`.
  explicit Colours(int fd, const Environment& environment = process_environment());
  /// Without colours.
  Colours() = default;

  [[nodiscard]] bool on() const noexcept { return on_; }
  [[nodiscard]] std::string paint(Style style, std::string_view text) const;
  /// Paints a part of `text`.
  void paint(Style style, std::string& text, std::size_t begin, std::size_t size) const;

 private:
  bool on_{};
};

/// Paints the headings of a help text.
[[nodiscard]] std::string paint_help(const Colours& colours, std::string_view help);
/// Paints what a line says first, if that is a result: `ok`, `OFF BY 2`, `WARNING`, `FAILED`, `note`.
[[nodiscard]] std::string paint_result(const Colours& colours, std::string_view line);

}  // namespace backplane::cli
