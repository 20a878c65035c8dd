#include "core/zmtp/command.hpp"

#include <algorithm>

#include "core/zmtp/big_endian.hpp"
#include "core/zmtp/frame.hpp"

namespace backplane::zmtp {
namespace {

constexpr std::size_t ping_context_bytes_max = 16;
constexpr std::size_t reason_bytes_max = 255;

/// Removes a text from `data` that follows its length, a number of type Length. Nothing if it is incomplete.
template <class Length>
std::optional<std::string_view> take_text(std::string_view& data) noexcept {
  if (data.size() < sizeof(Length)) return std::nullopt;
  const std::size_t size = load_big_endian<Length>(data);
  data.remove_prefix(sizeof(Length));
  if (data.size() < size) return std::nullopt;
  const std::string_view text = data.substr(0, size);
  data.remove_prefix(size);
  return text;
}

bool equal_without_case(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

std::optional<Command> parse_command(std::string_view body) noexcept {
  const auto name = take_text<std::uint8_t>(body);
  if (!name || name->empty()) return std::nullopt;
  return Command{*name, body};
}

void append_command_name(std::string_view name, std::string& out) {
  out.push_back(static_cast<char>(name.size()));
  out.append(name);
}

void append_command(std::string_view name, std::string_view data, std::string& out) {
  append_frame_head(flag::command, 1 + name.size() + data.size(), out);
  append_command_name(name, out);
  out.append(data);
}

std::optional<Metadata> parse_metadata(std::string_view data) noexcept {
  Metadata metadata;
  bool has_identity = false;
  while (!data.empty()) {
    const auto name = take_text<std::uint8_t>(data);
    if (!name || name->empty()) return std::nullopt;
    const auto value = take_text<std::uint32_t>(data);
    if (!value) return std::nullopt;
    if (equal_without_case(*name, "Socket-Type")) {
      if (metadata.socket_type) return std::nullopt;
      metadata.socket_type = *value;
    } else if (equal_without_case(*name, "Identity")) {
      if (has_identity) return std::nullopt;
      has_identity = true;
      metadata.identity = *value;
    }
  }
  return metadata;
}

void append_property(std::string_view name, std::string_view value, std::string& out) {
  append_command_name(name, out);
  append_big_endian(static_cast<std::uint32_t>(value.size()), out);
  out.append(value);
}

std::optional<Ping> parse_ping(std::string_view data) noexcept {
  if (data.size() < sizeof(std::uint16_t)) return std::nullopt;
  const Ping ping{load_big_endian<std::uint16_t>(data), data.substr(sizeof(std::uint16_t))};
  if (ping.context.size() > ping_context_bytes_max) return std::nullopt;
  return ping;
}

std::optional<PlainHello> parse_plain_hello(std::string_view data) noexcept {
  const auto username = take_text<std::uint8_t>(data);
  if (!username) return std::nullopt;
  const auto password = take_text<std::uint8_t>(data);
  if (!password || !data.empty()) return std::nullopt;
  return PlainHello{*username, *password};
}

std::optional<std::string_view> parse_error(std::string_view data) noexcept {
  const auto reason = take_text<std::uint8_t>(data);
  if (!reason || !data.empty()) return std::nullopt;
  return reason;
}

void append_error(std::string_view reason, std::string& out) {
  reason = reason.substr(0, reason_bytes_max);
  std::string data(1, static_cast<char>(reason.size()));
  append_command(command::error, data.append(reason), out);
}

}  // namespace backplane::zmtp
