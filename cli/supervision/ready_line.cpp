#include "cli/supervision/ready_line.hpp"

#include <algorithm>

namespace backplane::cli {

std::string ready_value(std::string_view line, std::string_view key) {
  while (!line.empty()) {
    const std::string_view word = line.substr(0, line.find(' '));
    line.remove_prefix(std::min(word.size() + 1, line.size()));
    if (word.size() > key.size() && word.starts_with(key) && word[key.size()] == '=') {
      return std::string(word.substr(key.size() + 1));
    }
  }
  return {};
}

}  // namespace backplane::cli
