#include "publishers/sources/topic_token.hpp"

#include "core/topic/topic.hpp"

namespace backplane::sources {
namespace {

std::string replace(std::string_view name, bool beyond_ascii_stays) {
  std::string token;
  for (const char c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    const bool beyond = (static_cast<unsigned char>(c) & 0x80U) != 0;
    token.push_back(plain || (beyond && beyond_ascii_stays) ? c : '_');
  }
  // Some first bytes are reserved, but a token stands behind a dot.
  return token.empty() ? "_" : token;
}

}  // namespace

std::string topic_token(std::string_view name) {
  std::string token = replace(name, /*beyond_ascii_stays=*/true);
  // Not UTF-8, or one of the spaces and control characters beyond ASCII.
  if (check_topic("t." + token) != TopicFault::none) return replace(name, /*beyond_ascii_stays=*/false);
  return token;
}

}  // namespace backplane::sources
