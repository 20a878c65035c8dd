#pragma once
// Which clients are over, for the thread that brought them.

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include "fanout/descriptor.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/mailbox.hpp"

namespace backplane::fanout {

/// Workers put, their owner takes.
class Departures {
 public:
  /// Throws std::system_error where the kernel refuses an eventfd.
  Departures() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!fd_) throw std::system_error(errno, std::system_category(), "eventfd");
  }

  /// Any thread's. Empties `clients`.
  void put(std::vector<ClientId>& clients) {
    mailbox_.put_all(clients);
    const std::uint64_t one = 1;
    (void)!::write(fd_.get(), &one, sizeof one);  // refused only where it is readable by far
  }

  // The owner's.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] std::vector<ClientId> take() {
    if (mailbox_.empty()) return {};
    // In this order: what is put in between makes it readable again.
    std::uint64_t count = 0;
    (void)!::read(fd_.get(), &count, sizeof count);
    return mailbox_.take();
  }

 private:
  Descriptor fd_;
  Mailbox<ClientId> mailbox_;
};

}  // namespace backplane::fanout
