#include "core/net/loopback.hpp"

#include <cstring>
#include <memory>
#include <string>

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/net/endpoint_addresses.hpp"

namespace backplane {
namespace {

bool is_loopback_v4(std::uint32_t address) {
  return address >> 24 == 127;
}

bool is_loopback(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return is_loopback_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address, sizeof v6);
  if (IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr)) return true;
  if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return false;
  std::uint32_t v4 = 0;
  std::memcpy(&v4, &v6.sin6_addr.s6_addr[12], sizeof v4);
  return is_loopback_v4(ntohl(v4));
}

/// Whether a network interface exists and has loopback addresses only.
bool is_loopback_interface(const std::string& name) {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return false;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, &::freeifaddrs);
  bool any = false;
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || name != each->ifa_name) continue;
    if (each->ifa_addr->sa_family != AF_INET && each->ifa_addr->sa_family != AF_INET6) continue;
    if (!is_loopback(*each->ifa_addr)) return false;
    any = true;
  }
  return any;
}

}  // namespace

bool is_loopback_host(std::string_view host) {
  if (is_localhost(host)) return true;
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(std::string(host).c_str(), nullptr, &hints, &found) != 0) return false;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  return is_loopback(*found->ai_addr);
}

bool is_loopback_endpoint(std::string_view endpoint) {
  if (endpoint.starts_with("ipc://") || endpoint.starts_with("inproc://")) return true;
  constexpr std::string_view tcp = "tcp://";
  if (!endpoint.starts_with(tcp)) return false;
  std::string_view host = endpoint.substr(tcp.size());
  host = host.substr(0, host.rfind(':'));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  // libzmq takes the name of an interface for it, also if it could be an address.
  return is_loopback_host(host) || is_loopback_interface(std::string(host));
}

}  // namespace backplane
