#include "publishers/sources/topic_token.hpp"

#include "core/topic/topic.hpp"

namespace backplane::sources {
namespace {

std::string replace(std::string_view name, bool keep_non_ascii) {
  std::string token;
  for (const char c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    const bool non_ascii = (static_cast<unsigned char>(c) & 0x80U) != 0;
    token.push_back(plain || (non_ascii && keep_non_ascii) ? c : '_');
  }
  // Some first bytes of a topic are reserved, but a token always follows a dot.
  return token.empty() ? "_" : token;
}

}  // namespace

std::string topic_token(std::string_view name) {
  std::string token = replace(name, /*keep_non_ascii=*/true);
  // Not UTF-8, or with white space or control characters beyond ASCII.
  if (check_topic("t." + token) != TopicFault::none) return replace(name, /*keep_non_ascii=*/false);
  return token;
}

}  // namespace backplane::sources
