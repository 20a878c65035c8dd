#include "gateway/protocols/http/uri.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <system_error>

namespace backplane::gateway::http {

std::optional<std::string> percent_decode(std::string_view text, bool in_query) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && in_query) {
      decoded.push_back(' ');
    } else if (text[i] != '%') {
      decoded.push_back(text[i]);
    } else {
      const std::string_view digits = text.substr(i + 1, 2);
      unsigned char byte = 0;
      const char* const end = digits.data() + digits.size();
      const auto read = std::from_chars(digits.data(), end, byte, 16);
      if (digits.size() < 2 || read.ec != std::errc{} || read.ptr != end) return std::nullopt;
      decoded.push_back(static_cast<char>(byte));
      i += 2;
    }
  }
  return decoded;
}

std::optional<Parameters> parse_query(std::string_view query) {
  Parameters parameters;
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    if (part.empty()) continue;
    const std::size_t equals = std::min(part.find('='), part.size());
    auto name = percent_decode(part.substr(0, equals), true);
    auto value = percent_decode(part.substr(std::min(equals + 1, part.size())), true);
    if (!name || !value) return std::nullopt;
    parameters.emplace_back(*std::move(name), *std::move(value));
  }
  return parameters;
}

}  // namespace backplane::gateway::http
