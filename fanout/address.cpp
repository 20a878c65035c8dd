#include "fanout/address.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>

namespace backplane::fanout {

Result<Address> look_up(const HostPort& place) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(place.host.c_str(), std::to_string(place.port).c_str(), &hints, &found);
  if (error != 0) {
    return fail(ErrorCode::not_found,
                fmt::format("cannot look up \"{}\": {}", place.host, gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  Address address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.length = found->ai_addrlen;
  return address;
}

namespace {

// The address as the kernel's own type. It is copied, because a cast would violate strict aliasing.
template <class Sockaddr>
Sockaddr as(const sockaddr_storage& storage) {
  Sockaddr address;
  std::memcpy(&address, &storage, sizeof address);
  return address;
}

/// Whether a host_key() is an IPv4 address.
bool is_v4(const std::array<std::uint8_t, 16>& key) noexcept {
  constexpr std::array<std::uint8_t, 12> prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(key.data(), prefix.data(), prefix.size()) == 0;
}

}  // namespace

std::string Address::text() const {
  std::array<char, INET6_ADDRSTRLEN> host{};
  if (storage.ss_family == AF_INET) {
    const auto v4 = as<sockaddr_in>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, host.data(), host.size());
    return fmt::format("{}:{}", host.data(), ntohs(v4.sin_port));
  }
  const auto v6 = as<sockaddr_in6>(storage);
  inet_ntop(AF_INET6, &v6.sin6_addr, host.data(), host.size());
  return fmt::format("[{}]:{}", host.data(), ntohs(v6.sin6_port));
}

std::array<std::uint8_t, 16> Address::host_key() const noexcept {
  std::array<std::uint8_t, 16> key{};
  if (storage.ss_family == AF_INET) {
    const auto v4 = as<sockaddr_in>(storage);
    key[10] = key[11] = 0xff;
    std::memcpy(&key[12], &v4.sin_addr, 4);
  } else {
    const auto v6 = as<sockaddr_in6>(storage);
    std::memcpy(key.data(), &v6.sin6_addr, 16);
  }
  return key;
}

std::array<std::uint8_t, 16> Address::network_key() const noexcept {
  auto key = host_key();
  if (!is_v4(key)) std::fill(key.begin() + 8, key.end(), std::uint8_t{0});
  return key;
}

bool Address::is_loopback() const noexcept {
  const auto key = host_key();
  if (is_v4(key)) return key[12] == 127;
  constexpr std::array<std::uint8_t, 16> v6_loopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return key == v6_loopback;
}

}  // namespace backplane::fanout
