#include "tests/golden/golden.hpp"

#include <cctype>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>

namespace backplane::golden {
namespace {

std::ifstream open(std::string_view name) {
  const std::string path = fmt::format("{}/{}", BACKPLANE_GOLDEN_DIR, name);
  std::ifstream file(path);
  if (!file) throw std::runtime_error(fmt::format("{}: cannot be opened", path));
  return file;
}

}  // namespace

std::string from_hex(std::string_view digits, std::string_view where) {
  std::string out;
  for (std::size_t at = 0; at < digits.size(); at += 2) {
    const std::string pair(digits.substr(at, 2));
    std::size_t used = 0;
    const int value =
        std::isxdigit(static_cast<unsigned char>(pair[0])) != 0 ? std::stoi(pair, &used, 16) : -1;
    if (used != 2)
      throw std::runtime_error(fmt::format("{}: two hex digits wanted, got \"{}\"", where, pair));
    out += static_cast<char>(value);
  }
  return out;
}

std::string bytes(std::string_view name) {
  std::ifstream file = open(name);
  std::string digits;
  for (std::string line; std::getline(file, line);) {
    for (const char c : line.substr(0, line.find('#'))) {
      if (c != ' ') digits += c;
    }
  }
  return from_hex(digits, name);
}

std::vector<std::vector<std::string>> cases(std::string_view name) {
  std::ifstream file = open(name);
  std::vector<std::vector<std::string>> all;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("# ")) continue;
    std::vector<std::string>& fields = all.emplace_back(1);
    for (const char c : line) {
      if (c == '\t') {
        fields.emplace_back();
      } else {
        fields.back() += c;
      }
    }
  }
  return all;
}

}  // namespace backplane::golden
