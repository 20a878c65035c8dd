#include "core/net/endpoint_addresses.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace backplane {
namespace {

constexpr std::string_view tcp = "tcp://";

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return host.starts_with('[') || ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1;
}

std::vector<std::string> look_up_host(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  std::vector<std::string> all;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(each->ai_addr, each->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) != 0)
      continue;
    std::string address = text.data();
    if (each->ai_family == AF_INET6) address.insert(0, 1, '[').push_back(']');
    if (std::find(all.begin(), all.end(), address) == all.end()) all.push_back(std::move(address));
  }
  return all;
}

}  // namespace

bool is_localhost(std::string_view host) {
  constexpr std::string_view name = "localhost";
  return std::equal(host.begin(), host.end(), name.begin(), name.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
}

const std::vector<std::string>& localhost_addresses() {
  static const std::vector<std::string> both{"127.0.0.1", "[::1]"};
  return both;
}

/// What the thread of one lookup and the owner share.
struct EndpointAddresses::Lookup {
  std::mutex mutex;
  std::condition_variable finished;
  bool done{};
  std::vector<std::string> addresses;
};

EndpointAddresses::EndpointAddresses(std::string endpoint, std::chrono::milliseconds wait)
    : EndpointAddresses(std::move(endpoint), wait, look_up_host) {}

EndpointAddresses::EndpointAddresses(std::string endpoint, std::chrono::milliseconds wait, LookUp look_up)
    : endpoint_(std::move(endpoint)), look_up_(std::move(look_up)), all_{endpoint_} {
  const std::size_t colon = endpoint_.rfind(':');
  if (!endpoint_.starts_with(tcp) || colon < tcp.size()) return;
  std::string host = endpoint_.substr(tcp.size(), colon - tcp.size());
  port_ = endpoint_.substr(colon);
  if (is_localhost(host)) {
    all_.clear();
    for (const std::string& each : localhost_addresses()) all_.push_back(std::string(tcp) + each + port_);
  } else if (!is_address(host)) {
    host_ = std::move(host);
    start();
    take_result(wait);
  }
}

void EndpointAddresses::start() {
  auto lookup = std::make_shared<Lookup>();
  try {
    std::thread([lookup, host = host_, look_up = look_up_] {
      auto found = look_up(host);
      const std::lock_guard lock(lookup->mutex);
      lookup->addresses = std::move(found);
      lookup->done = true;
      lookup->finished.notify_all();
    }).detach();
    lookup_ = std::move(lookup);
  } catch (const std::system_error&) {  // no thread now: what was known before remains
  }
}

void EndpointAddresses::take_result(std::chrono::milliseconds wait) {
  if (!lookup_) return;
  std::vector<std::string> found;
  {
    std::unique_lock lock(lookup_->mutex);
    if (!lookup_->finished.wait_for(lock, wait, [this] { return lookup_->done; })) return;
    found = std::move(lookup_->addresses);
  }
  lookup_.reset();
  if (found.empty()) return;
  const std::string before = current();
  all_.clear();
  for (const std::string& each : found) all_.push_back(std::string(tcp) + each + port_);
  // In a list that has changed, it goes on behind the present address.
  const auto same = std::find(all_.begin(), all_.end(), before);
  at_ = same == all_.end() ? 0 : static_cast<std::size_t>(same - all_.begin());
}

bool EndpointAddresses::next() {
  const bool was_name = current() == endpoint_ && !host_.empty();
  take_result(std::chrono::milliseconds{0});
  // The first address after the name itself has not been tried yet.
  if (was_name && current() != endpoint_) return false;
  at_ = (at_ + 1) % all_.size();
  if (at_ != 0) return false;
  if (!host_.empty() && !lookup_) start();
  return true;
}

}  // namespace backplane
