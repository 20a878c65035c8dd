#include "core/process/service_manager.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

namespace backplane {
namespace {

std::string take_variable(const char* name) {
  const char* const value = std::getenv(name);
  std::string text = value != nullptr ? value : "";
  ::unsetenv(name);
  return text;
}

/// @returns nothing if `text` is not a number above 0.
std::optional<std::uint64_t> to_number(const std::string& text) noexcept {
  std::uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || rest != text.data() + text.size() || number == 0) return std::nullopt;
  return number;
}

}  // namespace

ServiceManager ServiceManager::from_environment() noexcept {
  ServiceManager manager;
  manager.address_ = take_variable("NOTIFY_SOCKET");
  const auto watchdog_us = to_number(take_variable("WATCHDOG_USEC"));
  const std::string watchdog_pid = take_variable("WATCHDOG_PID");
  const std::string& address = manager.address_;
  // A path or an abstract name; newer versions have other kinds for virtual machines.
  if (address.size() < 2 || address.size() >= sizeof(sockaddr_un::sun_path) ||
      (address[0] != '/' && address[0] != '@')) {
    return {};
  }
  manager.socket_ = Descriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  // A service manager that reads nothing must not stop this process.
  const timeval limit{.tv_sec = 1, .tv_usec = 0};
  (void)::setsockopt(manager.socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  // The watchdog may be another process's that this one has inherited the variables from.
  if (watchdog_us &&
      (watchdog_pid.empty() || to_number(watchdog_pid) == static_cast<std::uint64_t>(::getpid()))) {
    manager.watchdog_interval_ =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::microseconds(*watchdog_us / 2));
  }
  return manager;
}

void ServiceManager::ready() const noexcept {
  send("READY=1", 0);
}

void ServiceManager::reloading() const noexcept {
  // Type=notify-reload requires the time at which the reload began.
  timespec now{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &now);
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), "RELOADING=1\nMONOTONIC_USEC=%lld",
                                 static_cast<long long>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1'000);
  send({text.data(), static_cast<std::size_t>(size)}, 0);
}

void ServiceManager::stopping() const noexcept {
  send("STOPPING=1", 0);
}

void ServiceManager::alive() const noexcept {
  if (watchdog_interval_) send("WATCHDOG=1", MSG_DONTWAIT);
}

void ServiceManager::send(std::string_view text, int flags) const noexcept {
  if (!socket_) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, address_.data(), address_.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  // Nothing can be done if it fails: the service manager notices that the message is missing.
  (void)::sendto(socket_.get(), text.data(), text.size(), flags | MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address), size);
}

}  // namespace backplane
