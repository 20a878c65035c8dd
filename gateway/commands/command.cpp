#include "gateway/commands/command.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/log/escape.hpp"
#include "core/topic/topic.hpp"

namespace backplane::gateway {
namespace {

constexpr std::array<std::string_view, 3> policy_names = {"gap", "latest", "disconnect"};

}  // namespace

std::string shown(std::string_view text) {
  constexpr std::size_t shown_bytes_max = 64;
  const bool cut = text.size() > shown_bytes_max;
  return fmt::format("\"{}{}\"", log::escape(text.substr(0, shown_bytes_max)), cut ? "…" : "");
}

std::optional<fanout::Policy> parse_policy(std::string_view name) noexcept {
  const auto* const found = std::find(policy_names.begin(), policy_names.end(), name);
  if (found == policy_names.end()) return std::nullopt;
  return static_cast<fanout::Policy>(found - policy_names.begin());
}

std::string_view name(fanout::Policy policy) noexcept {
  return policy_names[static_cast<std::size_t>(policy)];
}

std::optional<BadCommand> set_every(Subscribe& subscribe, std::chrono::nanoseconds every,
                                    std::string_view shown_as) {
  if (every < every_min || every > every_max) {
    return BadCommand{"bad_every", fmt::format("expected 1ms to 24h, got {}", shown(shown_as))};
  }
  subscribe.every = std::chrono::ceil<std::chrono::milliseconds>(every);
  return std::nullopt;
}

std::optional<BadCommand> set_since(Subscribe& subscribe, Result<Since> since) {
  if (!since) return BadCommand{"bad_since", std::move(since.error().text)};
  if (std::holds_alternative<AfterOffset>(*since) && !subscribe.pattern.is_exact()) {
    return BadCommand{"offset_needs_exact_topic",
                      fmt::format("expected one topic, because each topic has its own offsets, or "
                                  "since=<duration>; got {}",
                                  shown(subscribe.pattern.str()))};
  }
  subscribe.since = std::move(*since);
  return std::nullopt;
}

std::optional<BadCommand> set_resume(Subscribe& subscribe, std::string_view token) {
  auto positions = parse_resume_token(token);
  if (!positions) return BadCommand{"bad_since", std::move(positions.error().text)};
  return set_since(subscribe, Since{AfterPositions{std::move(*positions)}});
}

std::optional<BadCommand> check_sent_token(std::string_view token) {
  constexpr std::size_t bytes_max = 1024;
  const bool printable = std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (printable && !token.empty() && token.size() <= bytes_max) return std::nullopt;
  return BadCommand{"bad_argument",
                    "expected a token, <name>:<secret>: printable ASCII characters without spaces"};
}

std::optional<BadCommand> check_published(std::string_view topic) {
  if (const TopicFault fault = check_topic(topic); fault != TopicFault::none) {
    return BadCommand{"bad_topic", describe(fault, topic)};
  }
  if (!is_system_topic(topic)) return std::nullopt;
  return BadCommand{"bad_topic",
                    fmt::format("expected a topic outside $SYS, which is read-only, got {}", shown(topic))};
}

std::optional<BadCommand> check_pattern_text(std::string_view pattern) {
  const TopicFault fault = check_pattern(pattern);
  if (fault == TopicFault::none) return std::nullopt;
  return BadCommand{"bad_topic", describe(fault, pattern)};
}

}  // namespace backplane::gateway
