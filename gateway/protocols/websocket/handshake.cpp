#include "gateway/protocols/websocket/handshake.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/websocket/detail/hybi13.hpp>
#include <fmt/format.h>

#include "gateway/commands/command.hpp"

namespace backplane::gateway::websocket {
namespace {

namespace beast = boost::beast;

constexpr unsigned bad_request = 400;
constexpr unsigned upgrade_required = 426;

tl::unexpected<UpgradeRefusal> refuse(unsigned status, std::string_view got) {
  return tl::unexpected(UpgradeRefusal{status, fmt::format("expected a WebSocket handshake, got {}", got)});
}

/// Whether the names of two fields are the same. Beast's iequals() (1.81) reads a byte after the end of names
/// that differ in case.
bool is_same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

/// Calls `see` with the value of each field called `name`. @returns whether one call returned true.
template <class See>
bool any_value(const UpgradeRequest& request, std::string_view name, See see) {
  return std::any_of(request.fields.begin(), request.fields.end(),
                     [&](const auto& field) { return is_same_name(field.first, name) && see(field.second); });
}

/// The value of the first field called `name`.
std::optional<std::string_view> value(const UpgradeRequest& request, std::string_view name) {
  for (const auto& field : request.fields) {
    if (is_same_name(field.first, name)) return field.second;
  }
  return std::nullopt;
}

/// Whether a list such as `keep-alive, Upgrade` contains `token`.
bool contains(std::string_view list, std::string_view token) {
  const std::string terminated(list);  // see is_same_name()
  return beast::http::token_list(terminated).exists(token);
}

/// Whether `text` has the form of 16 bytes in base64.
bool is_key(std::string_view text) noexcept {
  constexpr std::size_t digits = 22;
  constexpr std::string_view padding = "==";
  return text.size() == digits + padding.size() && text.ends_with(padding) &&
         std::all_of(text.begin(), text.begin() + digits, [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
                  c == '/';
         });
}

std::string accept_value(std::string_view key) {
  // Beast has no public function for this alone: its stream, which has, brings a socket and an executor
  // along.
  beast::websocket::detail::sec_ws_accept_type accept;
  beast::websocket::detail::make_sec_ws_accept(accept, key);
  return {accept.data(), accept.size()};
}

}  // namespace

tl::expected<std::string, UpgradeRefusal> answer_upgrade(const UpgradeRequest& request) {
  // RFC 6455, 11.3.1 and 11.3.5: two readers might use different ones.
  for (const std::string_view single : {"Sec-WebSocket-Key", "Sec-WebSocket-Version"}) {
    const auto count = std::count_if(request.fields.begin(), request.fields.end(),
                                     [&](const auto& field) { return is_same_name(field.first, single); });
    if (count > 1) return refuse(bad_request, fmt::format("{} {} fields", count, single));
  }
  // RFC 6455, 4.2.1.
  if (request.version != 11) return refuse(bad_request, "another version of HTTP than 1.1");
  if (request.method != "GET") return refuse(bad_request, "another method than GET");
  if (!value(request, "Host")) return refuse(bad_request, "no Host");
  for (const auto& [field, token] : {std::pair{"Connection", "upgrade"}, std::pair{"Upgrade", "websocket"}}) {
    if (!value(request, field)) return refuse(upgrade_required, fmt::format("no {}", field));
    // Several lines are one list.
    const auto names_it = [wanted = token](std::string_view list) { return contains(list, wanted); };
    if (!any_value(request, field, names_it)) {
      return refuse(upgrade_required, fmt::format("{} without {}", field, token));
    }
  }
  const auto key = value(request, "Sec-WebSocket-Key");
  if (!key) return refuse(bad_request, "no Sec-WebSocket-Key");
  if (!is_key(*key)) return refuse(bad_request, "a Sec-WebSocket-Key that is not 16 bytes in base64");
  const auto version = value(request, "Sec-WebSocket-Version");
  if (!version) return refuse(upgrade_required, "no Sec-WebSocket-Version");
  if (*version != "13") return refuse(upgrade_required, "a Sec-WebSocket-Version other than 13");
  // A browser would fail such a connection after the 101, without a reason.
  std::string_view offered;
  const auto offers = [&](std::string_view list) { return !(offered = list).empty(); };
  if (any_value(request, "Sec-WebSocket-Protocol", offers)) {
    return tl::unexpected(UpgradeRefusal{
        bad_request, fmt::format("expected no Sec-WebSocket-Protocol, got {}: there are no subprotocols",
                                 shown(offered))});
  }

  return fmt::format(
      "HTTP/1.1 101 Switching Protocols\r\n"
      "Upgrade: websocket\r\n"
      "Connection: upgrade\r\n"
      "Sec-WebSocket-Accept: {}\r\n"
      "Server: backplane\r\n"
      "\r\n",
      accept_value(*key));
}

}  // namespace backplane::gateway::websocket
