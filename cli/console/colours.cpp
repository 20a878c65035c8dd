#include "cli/console/colours.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <unistd.h>

namespace backplane::cli {
namespace {

constexpr std::string_view reset = "\x1b[0m";

/// From the sixteen colours, which a terminal's theme keeps readable on its background.
std::string_view begin_of(Style style) {
  switch (style) {
    case Style::heading:
      return "\x1b[1m";
    case Style::topic:
      return "\x1b[36m";
    case Style::good:
      return "\x1b[32m";
    case Style::warning:
      return "\x1b[33m";
    case Style::error:
      return "\x1b[1;31m";
    case Style::plain:
      break;
  }
  return {};
}

}  // namespace

Colours::Colours(int fd, const Environment& environment) {
  const char* const no_colour = environment("NO_COLOR");
  const char* const terminal = environment("TERM");
  const bool refused = no_colour != nullptr && *no_colour != '\0';
  const bool capable = terminal != nullptr && *terminal != '\0' && terminal != std::string_view("dumb");
  on_ = !refused && capable && ::isatty(fd) == 1;
}

std::string Colours::paint(Style style, std::string_view text) const {
  std::string painted(text);
  paint(style, painted, 0, painted.size());
  return painted;
}

void Colours::paint(Style style, std::string& text, std::size_t begin, std::size_t size) const {
  if (!on_ || size == 0 || style == Style::plain) return;
  text.insert(begin + size, reset);
  text.insert(begin, begin_of(style));
}

std::string paint_help(const Colours& colours, std::string_view help) {
  if (!colours.on()) return std::string(help);
  std::string painted;
  while (!help.empty()) {
    const std::size_t end = std::min(help.find('\n'), help.size());
    const std::string_view line = help.substr(0, end);
    constexpr std::string_view usage = "Usage:";
    if (line.starts_with(usage)) {
      painted += colours.paint(Style::heading, usage);
      painted += line.substr(usage.size());
    } else {
      const bool is_heading = line.ends_with(':') && !line.starts_with(' ');
      painted += colours.paint(is_heading ? Style::heading : Style::plain, line);
    }
    if (end < help.size()) painted += '\n';
    help.remove_prefix(std::min(end + 1, help.size()));
  }
  return painted;
}

std::string paint_result(const Colours& colours, std::string_view line) {
  constexpr std::array<std::pair<std::string_view, Style>, 4> results{{{"ok ", Style::good},
                                                                       {"OFF BY ", Style::error},
                                                                       {"FAILED ", Style::error},
                                                                       {"WARNING ", Style::warning}}};
  std::string painted(line);
  const std::size_t begin = line.find_first_not_of(' ');
  if (begin == std::string_view::npos || begin == 0) return painted;
  for (const auto& [word, style] : results) {
    if (!line.substr(begin).starts_with(word)) continue;
    // Numbers behind `OFF BY` belong to it.
    const std::size_t end = style == Style::error ? line.find("  ", begin) : begin + word.size() - 1;
    colours.paint(style, painted, begin, std::min(end, line.size()) - begin);
    break;
  }
  return painted;
}

}  // namespace backplane::cli
