#pragma once
// Tells the service manager (systemd) how the process is: ready, reloading, stopping, alive.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "core/process/descriptor.hpp"

namespace backplane {

/// The service manager that started the process, as in sd_notify(3). Without one, every call does nothing.
/// Lives on the main thread. Owns a datagram socket. Written here rather than linked: libsystemd is a library
/// for one sendto(), and containers and other systems do not have it.
class ServiceManager {
 public:
  /// No service manager.
  ServiceManager() = default;
  /// The one that NOTIFY_SOCKET and WATCHDOG_USEC describe. Removes both from the environment: they are not
  /// for children of this process. Call it before any thread starts.
  static ServiceManager from_environment() noexcept;

  /// The process serves its clients: its listeners are open. Also ends reloading(). Waits at most a second.
  void ready() const noexcept;
  /// The process reads its configuration again; ready() must follow, whatever comes of it.
  void reloading() const noexcept;
  /// The process has begun to stop.
  void stopping() const noexcept;
  /// The process works. With a watchdog, call it at least once per watchdog_interval(): otherwise the service
  /// manager kills the process and starts it again. Never blocks.
  void alive() const noexcept;

  /// Half the time after which the watchdog acts; nullopt: there is no watchdog.
  [[nodiscard]] std::optional<std::chrono::milliseconds> watchdog_interval() const noexcept {
    return watchdog_interval_;
  }

 private:
  void send(std::string_view text, int flags) const noexcept;

  Descriptor socket_;
  std::string address_;  ///< a path; one that begins with '@' is in Linux's abstract namespace
  std::optional<std::chrono::milliseconds> watchdog_interval_;
};

}  // namespace backplane
