#include "cli/connection/gateway_item.hpp"

#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "backplane/v1/session.pb.h"
#include "core/json/object.hpp"

namespace backplane::cli {
namespace {

using Kind = GatewayItem::Kind;
using Members = json::Object;

tl::unexpected<Error> unexpected_message(std::string_view line) {
  constexpr std::size_t shown_max = 80;
  return fail(ErrorCode::protocol,
              fmt::format("expected a gateway's message, got \"{}{}\"", line.substr(0, shown_max),
                          line.size() > shown_max ? "…" : ""));
}

std::optional<std::uint64_t> number_of(const std::string* text, int base = 10) {
  std::uint64_t number = 0;
  if (text == nullptr) return std::nullopt;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number, base);
  if (error != std::errc{} || end != text->data() + text->size()) return std::nullopt;
  return number;
}

const std::string* find(const Members& members, std::string_view name) {
  const json::Value* const value = members.find(name);
  return value == nullptr ? nullptr : &value->text;
}

/// {"gap":{…}} or {"reset":{…}}
Result<GatewayItem> parse_notice(Kind kind, std::string_view line, const std::string& inner) {
  const auto members = json::parse_object(inner);
  if (!members) return unexpected_message(line);
  GatewayItem item;
  item.kind = kind;
  const std::string* const topic = find(*members, "topic");
  const auto stream = number_of(find(*members, "stream"), 16);
  if (topic == nullptr || !stream) return unexpected_message(line);
  item.topic = *topic;
  item.stream = *stream;
  if (kind == Kind::reset) return item;
  const auto first = number_of(find(*members, "first"));
  const auto last = number_of(find(*members, "last"));
  const std::string* const reason = find(*members, "reason");
  if (!first || !last || reason == nullptr) return unexpected_message(line);
  item.first = *first;
  item.last = *last;
  item.reason = *reason;
  return item;
}

/// Where an event's typed payload begins; npos if it has none. It is the last member, and is printed as it is
/// in the line. Inside a string, these quotes would be escaped.
std::size_t data_at(std::string_view line) {
  constexpr std::string_view data = ",\"data\":";
  const std::size_t at = line.find(data);
  return at == std::string_view::npos || !line.ends_with('}') ? std::string_view::npos : at + data.size();
}

Result<GatewayItem> parse_event(const Members& members, std::string_view line) {
  GatewayItem item;
  item.kind = Kind::event;
  const std::string* const topic = find(members, "topic");
  const auto stream = number_of(find(members, "stream"), 16);
  const auto position = number_of(find(members, "position"));
  const auto offset = number_of(find(members, "offset"));
  if (topic == nullptr || !stream || !position || !offset) return unexpected_message(line);
  item.topic = *topic;
  item.stream = *stream;
  item.position = *position;
  item.offset = *offset;
  if (const std::size_t data = data_at(line); data != std::string_view::npos) {
    item.payload = GatewayItem::Payload::data;
    item.body = line.substr(data, line.size() - data - 1);
  } else if (const std::string* text = find(members, "text")) {
    item.payload = GatewayItem::Payload::text;
    item.body = *text;
  } else if (const std::string* base64 = find(members, "base64")) {
    item.payload = GatewayItem::Payload::base64;
    item.body = *base64;
  }
  return item;
}

Result<GatewayItem> parse_object(std::string_view line) {
  // Leave out the payload: it is not needed, and may be nested more deeply than the parser allows.
  const std::size_t data = data_at(line);
  const auto members = data == std::string_view::npos
                           ? json::parse_object(line)
                           : json::parse_object(std::string(line.substr(0, data)) + "null}");
  if (!members) return unexpected_message(line);
  if (const std::string* gap = find(*members, "gap")) return parse_notice(Kind::gap, line, *gap);
  if (const std::string* reset = find(*members, "reset")) return parse_notice(Kind::reset, line, *reset);
  constexpr std::array<std::pair<std::string_view, Kind>, 3> words{
      {{"wait", Kind::wait}, {"live", Kind::live}, {"bye", Kind::bye}}};
  for (const auto& [word, kind] : words) {
    if (const std::string* text = find(*members, word)) {
      GatewayItem item;
      item.kind = kind;
      item.text = *text;
      return item;
    }
  }
  return parse_event(*members, line);
}

}  // namespace

Result<GatewayItem> parse_gateway_line(std::string_view line) {
  if (line.starts_with('{')) return parse_object(line);
  GatewayItem item;
  const std::size_t space = line.find(' ');
  const std::string_view word = line.substr(0, space);
  item.text = space == std::string_view::npos ? "" : line.substr(space + 1);
  if (word == "+OK") {
    item.kind = Kind::ok;
  } else if (word == "-ERR") {
    item.kind = Kind::error;
  } else if (word == "!WAIT") {
    item.kind = Kind::wait;
  } else if (word == "!LIVE") {
    item.kind = Kind::live;
  } else if (word == "!BYE") {
    item.kind = Kind::bye;
  } else if (!word.starts_with('+') && !word.starts_with('!')) {
    return unexpected_message(line);
  }
  return item;
}

Result<GatewayItem> parse_gateway_message(std::string_view bytes) {
  v1::ServerMessage message;
  constexpr std::size_t parse_max = std::numeric_limits<int>::max();
  if (bytes.size() > parse_max || !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return unexpected_message(bytes);
  }
  GatewayItem item;
  switch (message.message_case()) {
    case v1::ServerMessage::kDelivery: {
      const v1::Stamp& stamp = message.delivery().event().stamp();
      item.kind = Kind::event;
      item.topic = message.delivery().topic();
      item.stream = stamp.stream();
      item.position = stamp.position();
      item.offset = stamp.offset();
      break;
    }
    case v1::ServerMessage::kGap:
      item.kind = Kind::gap;
      item.topic = message.gap().topic();
      item.stream = message.gap().stream();
      item.first = message.gap().first();
      item.last = message.gap().last();
      item.reason = message.gap().reason();
      break;
    case v1::ServerMessage::kReset:
      item.kind = Kind::reset;
      item.topic = message.reset().topic();
      item.stream = message.reset().stream();
      break;
    case v1::ServerMessage::kOk:
      item.kind = Kind::ok;
      item.text = message.ok().command() + ' ' + message.ok().argument();
      break;
    case v1::ServerMessage::kError:
      item.kind = Kind::error;
      item.text = message.error().code() + ' ' + message.error().text();
      break;
    case v1::ServerMessage::kWait:
      item.kind = Kind::wait;
      item.text = message.wait().what();
      break;
    case v1::ServerMessage::kLive:
      item.kind = Kind::live;
      item.text = message.live().what();
      break;
    case v1::ServerMessage::kBye:
      item.kind = Kind::bye;
      item.text = message.bye().reason();
      break;
    default:
      break;
  }
  return item;
}

}  // namespace backplane::cli
