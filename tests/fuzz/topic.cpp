// Any bytes as a pattern and, behind the first line feed, a topic.

#include "core/topic/topic.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/topic/pattern.hpp"
#include "core/wire/scan.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;

void check_one_line(const std::string& text) {
  const bool plain =
      std::none_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; });
  fuzz::expect(plain && wire::is_utf8(text), "describe gives one line that a terminal can show");
}

void check_name(std::string_view name) {
  const TopicFault as_topic = check_topic(name);
  const TopicFault as_pattern = check_pattern(name);
  check_one_line(describe(as_topic, name));
  check_one_line(describe(as_pattern, name));
  if (as_topic == TopicFault::none) {
    fuzz::expect(as_pattern == TopicFault::none, "a topic is a pattern");
    const auto exact = Pattern::parse(name);
    fuzz::expect(exact && exact->is_exact() && exact->matches(name), "a topic as a pattern means itself");
    fuzz::expect(Pattern::parse(">")->matches(name) != is_system_topic(name), "> is all but the system's");
  } else if (as_topic != TopicFault::wildcard) {
    fuzz::expect(as_topic == as_pattern || as_pattern == TopicFault::wildcard,
                 "only wildcards make a difference");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  const std::size_t split = std::min(input.find('\n'), size);
  const std::string_view text = input.substr(0, split);
  const std::string_view topic = split < size ? input.substr(split + 1) : std::string_view{};
  check_name(text);
  check_name(topic);

  const auto pattern = Pattern::parse(text);
  if (!pattern) {
    check_one_line(pattern.error().text);
    return 0;
  }
  fuzz::expect(pattern->is_exact() == (check_topic(text) == TopicFault::none),
               "exact patterns are the topics");
  if (check_topic(topic) == TopicFault::none && pattern->matches(topic)) {
    fuzz::expect(topic.starts_with(pattern->literal_prefix()), "what matches begins with the literal prefix");
    fuzz::expect(!is_system_topic(topic) || is_system_topic(text),
                 "the system's topics are asked for by name");
  }
  return 0;
}
