#include "tests/golden/golden.hpp"

#include <cctype>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>

namespace backplane::golden {

std::string bytes(std::string_view name) {
  const std::string path = fmt::format("{}/{}", BACKPLANE_GOLDEN_DIR, name);
  std::ifstream file(path);
  if (!file) throw std::runtime_error(fmt::format("{}: cannot be opened", path));
  std::string digits;
  for (std::string line; std::getline(file, line);) {
    for (const char c : line.substr(0, line.find('#'))) {
      if (c != ' ') digits += c;
    }
  }
  std::string out;
  for (std::size_t at = 0; at < digits.size(); at += 2) {
    const std::string pair = digits.substr(at, 2);
    std::size_t used = 0;
    const int value =
        std::isxdigit(static_cast<unsigned char>(pair[0])) != 0 ? std::stoi(pair, &used, 16) : -1;
    if (used != 2) throw std::runtime_error(fmt::format("{}: two hex digits wanted, got \"{}\"", path, pair));
    out += static_cast<char>(value);
  }
  return out;
}

}  // namespace backplane::golden
