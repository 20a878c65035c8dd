#include "core/zmtp/socket_type.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace backplane::zmtp {
namespace {

constexpr std::array<std::string_view, 11> names = {"PAIR",   "PUB",  "SUB",  "REQ",  "REP", "DEALER",
                                                    "ROUTER", "PULL", "PUSH", "XPUB", "XSUB"};

}  // namespace

std::string_view name(SocketType type) noexcept {
  return names[static_cast<std::size_t>(type)];
}

std::optional<SocketType> parse_socket_type(std::string_view name) noexcept {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<SocketType>(found - names.begin());
}

std::optional<SocketType> socket_type_of(std::uint8_t number) noexcept {
  if (number >= names.size()) return std::nullopt;
  return static_cast<SocketType>(number);
}

SocketType counterpart(SocketType peer) noexcept {
  switch (peer) {
    case SocketType::pub:
    case SocketType::xpub:
      return SocketType::xsub;
    case SocketType::sub:
    case SocketType::xsub:
      return SocketType::xpub;
    case SocketType::req:
    case SocketType::dealer:
      return SocketType::router;
    case SocketType::rep:
    case SocketType::router:
      return SocketType::dealer;
    case SocketType::pull:
      return SocketType::push;
    case SocketType::push:
      return SocketType::pull;
    case SocketType::pair:
      break;
  }
  return SocketType::pair;
}

}  // namespace backplane::zmtp
