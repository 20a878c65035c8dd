#pragma once
// What a client can ask of a gateway, whatever it speaks.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "core/error/error.hpp"
#include "core/topic/pattern.hpp"
#include "fanout/client.hpp"
#include "follower/control/replay_slice.hpp"
#include "gateway/encode/encoder.hpp"

namespace backplane::gateway {

/// Where the events of a subscription begin, as the client says it: with new ones, behind places that it had
/// come to, behind an offset (only where the pattern is one topic), or so long ago.
using Since = std::variant<std::monostate, AfterPositions, AfterOffset, std::chrono::nanoseconds>;

struct Subscribe {
  Pattern pattern;
  bool last{};
  std::chrono::milliseconds every{0};  ///< 0: every event
  Since since;
  std::optional<fanout::Policy> policy;  ///< for the whole session, as SetPolicy
};
struct Unsubscribe {
  std::string pattern;
};
struct Publish {
  std::string topic;
  std::string text;  ///< with its escapes undone
};
struct SetFormat {
  Format format{};
};
struct SetPolicy {
  fanout::Policy policy{};
};
struct ListTopics {
  std::string pattern;
};
struct Ping {};
struct Help {};
struct Quit {};
/// Nothing is asked, nothing is answered: an empty line.
struct Nothing {};

/// What cannot be done: a word for programs and one line for people.
struct BadCommand {
  std::string code;
  std::string text;
};

using Command = std::variant<Nothing, Subscribe, Unsubscribe, Publish, SetFormat, SetPolicy, ListTopics, Ping,
                             Help, Quit, BadCommand>;

/// What the broker is to be asked for. `now_ns` is Unix time.
[[nodiscard]] std::optional<ReplayFrom> replay_from(const Since& since, std::int64_t now_ns);

/// gap, latest or disconnect; nothing for any other name.
[[nodiscard]] std::optional<fanout::Policy> parse_policy(std::string_view name) noexcept;
[[nodiscard]] std::string_view name(fanout::Policy policy) noexcept;

// What a subscription may ask for, checked alike in all protocols. `shown` is what stood there, for the
// error.

inline constexpr std::chrono::milliseconds every_min{1};
inline constexpr std::chrono::milliseconds every_max{std::chrono::hours{24}};
inline constexpr std::chrono::hours since_max{24 * 3650};  ///< no history is that old

/// Takes `every`, rounded up to milliseconds. @returns what is wrong with it.
[[nodiscard]] std::optional<BadCommand> set_every(Subscribe& subscribe, std::chrono::nanoseconds every,
                                                  std::string_view shown);
/// Takes `ago`. @returns what is wrong with it.
[[nodiscard]] std::optional<BadCommand> set_since(Subscribe& subscribe, std::chrono::nanoseconds ago,
                                                  std::string_view shown);
/// Takes a resume token. @returns what is wrong with it.
[[nodiscard]] std::optional<BadCommand> set_resume(Subscribe& subscribe, std::string_view token);
/// Takes an offset. @returns what is wrong with it.
[[nodiscard]] std::optional<BadCommand> set_offset(Subscribe& subscribe, std::uint64_t offset);

/// What was sent, as a part of an answer: in quotes, cut, without what a terminal must not see.
[[nodiscard]] std::string shown(std::string_view text);

// Checks that all protocols share. @returns what is wrong.
[[nodiscard]] std::optional<BadCommand> check_published(std::string_view topic);
[[nodiscard]] std::optional<BadCommand> check_pattern_text(std::string_view pattern);

}  // namespace backplane::gateway
