#include "gateway/protocols/http_server/site.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <arpa/inet.h>

#include "gateway/protocols/http/message.hpp"

namespace backplane::gateway::http {
namespace {

/// The host without its port and without a dot at the end, in lower case; IPv6 in brackets.
std::string name_of(std::string_view host) {
  const std::size_t bracket = host.starts_with('[') ? host.find(']') : 0;
  std::string name = lower_case(host.substr(0, host.find(':', std::min(bracket, host.size()))));
  if (name.ends_with('.')) name.pop_back();
  return name;
}

/// Whether the name is followed by a port or by nothing.
bool has_port_or_none(std::string_view host) {
  host.remove_prefix(host.starts_with('[') ? std::min(host.find(']'), host.size() - 1) + 1
                                           : std::min(host.find(':'), host.size()));
  if (host.empty()) return true;
  host.remove_prefix(1);
  return std::all_of(host.begin(), host.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// The IP address that `name` is, in a canonical form; empty if it is none.
std::string address(const std::string& name) {
  std::array<unsigned char, 16> bytes{};
  const bool ipv6 = name.starts_with('[') && name.ends_with(']');
  const std::string text = ipv6 ? name.substr(1, name.size() - 2) : name;
  if (text.find('\0') != std::string::npos) return {};  // inet_pton() would read what is before it
  const int family = ipv6 ? AF_INET6 : AF_INET;
  if (::inet_pton(family, text.c_str(), bytes.data()) != 1) return {};
  std::array<char, INET6_ADDRSTRLEN> shown{};
  return ::inet_ntop(family, bytes.data(), shown.data(), shown.size());
}

bool is_loopback(const std::string& address) {
  return address == "::1" || address.starts_with("127.");
}

}  // namespace

Site::Site(SiteOptions options, SitePages pages) : options_(std::move(options)), pages_(std::move(pages)) {
  for (const std::string& host : options_.hosts) hosts_.insert(name_of(host));
}

void Site::add_address(std::string_view address_and_port) {
  const std::string name = name_of(address_and_port);
  const std::string literal = address(name);
  any_address_ = any_address_ || literal == "0.0.0.0" || literal == "::";
  hosts_.insert(literal.empty() ? name : literal);
}

bool Site::is_host(std::string_view host) const {
  if (!has_port_or_none(host)) return false;
  const std::string name = name_of(host);
  if (name == "localhost" || name.ends_with(".localhost")) return true;
  const std::string literal = address(name);
  const bool known = literal.empty() ? hosts_.contains(name)
                                     : any_address_ || is_loopback(literal) || hosts_.contains(literal) ||
                                           hosts_.contains(name);
  return known || (options_.is_certified && options_.is_certified(literal.empty() ? name : literal));
}

bool Site::is_cors_origin(std::string_view origin) const {
  return std::find(options_.cors_origins.begin(), options_.cors_origins.end(), origin) !=
         options_.cors_origins.end();
}

bool Site::may_use(std::string_view origin, std::string_view host, bool encrypted) const {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (encrypted && scheme == "http://") break;
    if (!origin.starts_with(scheme)) continue;
    if (lower_case(origin.substr(scheme.size())) == lower_case(host)) return true;
  }
  return is_cors_origin(origin);
}

}  // namespace backplane::gateway::http
