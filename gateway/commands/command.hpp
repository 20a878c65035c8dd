#pragma once
// The commands of clients, in every protocol.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "core/error/error.hpp"
#include "core/topic/pattern.hpp"
#include "fanout/client.hpp"
#include "follower/control/since.hpp"
#include "gateway/encode/encoder.hpp"

namespace backplane::gateway {

struct Subscribe {
  Pattern pattern;
  bool last{};
  std::chrono::milliseconds every{0};  ///< 0: every event
  Since since;
  std::optional<fanout::Policy> policy;  ///< of the whole session, as SetPolicy sets it
};
struct Unsubscribe {
  std::string pattern;
};
struct Publish {
  std::string topic;
  std::string text;  ///< escapes are decoded
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
/// Says who the client is.
struct Authenticate {
  std::string token;  ///< NAME:SECRET, not verified
};
/// Requests the position before which the client has everything: see Subscriber::on_position().
struct ReportPosition {};
struct Ping {};
struct Help {};
struct Quit {};
/// An empty line, which gets no reply.
struct Nothing {};

/// A command that cannot be executed: a code for programs and one line of text for people.
struct BadCommand {
  std::string code;
  std::string text;
};

using Command = std::variant<Nothing, Subscribe, Unsubscribe, Publish, SetFormat, SetPolicy, ListTopics,
                             ReportPosition, Authenticate, Ping, Help, Quit, BadCommand>;

/// gap, latest or disconnect; nothing for any other name.
[[nodiscard]] std::optional<fanout::Policy> parse_policy(std::string_view name) noexcept;
[[nodiscard]] std::string_view name(fanout::Policy policy) noexcept;

// Options of a subscription, checked alike in all protocols. `shown` is what the client sent, for the error.
// @returns what is wrong.

inline constexpr std::chrono::milliseconds every_min{1};
inline constexpr std::chrono::milliseconds every_max{std::chrono::hours{24}};

/// Sets the interval, rounded up to milliseconds.
[[nodiscard]] std::optional<BadCommand> set_every(Subscribe& subscribe, std::chrono::nanoseconds every,
                                                  std::string_view shown);
/// Sets where history begins, or reports why it could not be parsed. An offset needs a pattern that is one
/// topic.
[[nodiscard]] std::optional<BadCommand> set_since(Subscribe& subscribe, Result<Since> since);
/// Sets the positions of a resume token as the start of history.
[[nodiscard]] std::optional<BadCommand> set_resume(Subscribe& subscribe, std::string_view token);

/// A client's text as part of a reply: quoted, cut after 64 bytes, with control characters escaped.
[[nodiscard]] std::string shown(std::string_view text);

// Checks that all protocols share. @returns what is wrong.

/// A token that clients can send. The error does not contain it.
[[nodiscard]] std::optional<BadCommand> check_sent_token(std::string_view token);
/// A topic to publish to: a valid one that does not belong to the system.
[[nodiscard]] std::optional<BadCommand> check_published(std::string_view topic);
[[nodiscard]] std::optional<BadCommand> check_pattern_text(std::string_view pattern);

}  // namespace backplane::gateway
