#include "gateway/protocols/proto/client_message.hpp"

#include <limits>
#include <utility>

#include <fmt/format.h>

#include "backplane/v1/session.pb.h"

namespace backplane::gateway::proto {
namespace {

using v1::ClientMessage;

/// Nothing if it is not a valid protobuf Duration, is negative, or does not fit in 64 bits.
std::optional<std::chrono::nanoseconds> duration_of(const google::protobuf::Duration& duration) {
  constexpr std::int64_t second = 1'000'000'000;
  constexpr std::int64_t seconds_max = std::numeric_limits<std::int64_t>::max() / second - 1;
  if (duration.seconds() < 0 || duration.seconds() > seconds_max) return std::nullopt;
  if (duration.nanos() < 0 || duration.nanos() >= second) return std::nullopt;
  return std::chrono::nanoseconds{duration.seconds() * second + duration.nanos()};
}

std::string shown_duration(const google::protobuf::Duration& duration) {
  return fmt::format("{}s {}ns", duration.seconds(), duration.nanos());
}

std::optional<fanout::Policy> policy_of(ClientMessage::Policy policy) {
  switch (policy) {
    case ClientMessage::POLICY_GAP:
      return fanout::Policy::gap;
    case ClientMessage::POLICY_LATEST:
      return fanout::Policy::latest;
    case ClientMessage::POLICY_DISCONNECT:
      return fanout::Policy::disconnect;
    default:
      return std::nullopt;
  }
}

BadCommand bad_policy(ClientMessage::Policy policy) {
  return {"bad_policy",
          fmt::format("expected gap, latest or disconnect (1 to 3), got {}", static_cast<int>(policy))};
}

std::optional<BadCommand> take_since(const ClientMessage::Subscribe& message, Subscribe& command) {
  switch (message.since_case()) {
    case ClientMessage::Subscribe::kResume:
      return set_resume(command, message.resume());
    case ClientMessage::Subscribe::kAgo:
      return set_since(command, since_ago(duration_of(message.ago()).value_or(std::chrono::nanoseconds{-1}),
                                          shown_duration(message.ago())));
    case ClientMessage::Subscribe::kOffset:
      return set_since(command, Since{AfterOffset{message.offset()}});
    case ClientMessage::Subscribe::SINCE_NOT_SET:
      break;
  }
  return std::nullopt;
}

Command subscribe(const ClientMessage::Subscribe& message) {
  auto pattern = Pattern::parse(message.pattern());
  if (!pattern) return BadCommand{"bad_topic", std::move(pattern.error().text)};
  Subscribe command{.pattern = std::move(*pattern), .last = message.last(), .since = {}, .policy = {}};
  if (message.has_every()) {
    const auto every = duration_of(message.every());
    auto bad =
        set_every(command, every.value_or(std::chrono::nanoseconds{-1}), shown_duration(message.every()));
    if (bad) return *std::move(bad);
  }
  if (auto bad = take_since(message, command)) return *std::move(bad);
  if (message.policy() != ClientMessage::POLICY_UNSPECIFIED) {
    command.policy = policy_of(message.policy());
    if (!command.policy) return bad_policy(message.policy());
  }
  return command;
}

Command unsubscribe(const ClientMessage::Unsubscribe& message) {
  if (auto bad = check_pattern_text(message.pattern())) return *std::move(bad);
  return Unsubscribe{message.pattern()};
}

Command publish(ClientMessage::Publish& message) {
  if (auto bad = check_published(message.topic())) return *std::move(bad);
  if (message.payload_case() != ClientMessage::Publish::kText) {
    return BadCommand{"bad_argument", "expected a publish with a text, got none"};
  }
  return Publish{std::move(*message.mutable_topic()), std::move(*message.mutable_text())};
}

Command list_topics(const ClientMessage::ListTopics& message) {
  if (message.pattern().empty()) return ListTopics{">"};
  if (auto bad = check_pattern_text(message.pattern())) return *std::move(bad);
  return ListTopics{message.pattern()};
}

}  // namespace

Command parse_message(std::string_view bytes) {
  ClientMessage message;
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()) ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return BadCommand{"malformed", "expected a backplane.v1.ClientMessage, got other bytes"};
  }
  switch (message.command_case()) {
    case ClientMessage::kSubscribe:
      return subscribe(message.subscribe());
    case ClientMessage::kUnsubscribe:
      return unsubscribe(message.unsubscribe());
    case ClientMessage::kPublish:
      return publish(*message.mutable_publish());
    case ClientMessage::kPing:
      return Ping{};
    case ClientMessage::kSetPolicy:
      if (const auto policy = policy_of(message.set_policy().policy())) return SetPolicy{*policy};
      return bad_policy(message.set_policy().policy());
    case ClientMessage::kListTopics:
      return list_topics(message.list_topics());
    case ClientMessage::kReportPosition:
      return ReportPosition{};
    case ClientMessage::kAuthenticate:
      if (auto bad = check_sent_token(message.authenticate().token())) return *std::move(bad);
      return Authenticate{std::move(*message.mutable_authenticate()->mutable_token())};
    case ClientMessage::kQuit:
      return Quit{};
    case ClientMessage::COMMAND_NOT_SET:
      break;
  }
  return BadCommand{"malformed", "expected a ClientMessage with a known command, got none"};
}

}  // namespace backplane::gateway::proto
