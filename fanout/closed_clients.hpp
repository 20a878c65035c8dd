#pragma once
// Which clients are over, for the thread that brought them.

#include <vector>

#include "core/process/wake_fd.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/mailbox.hpp"

namespace backplane::fanout {

/// Workers put, their owner takes.
class ClosedClients {
 public:
  /// Any thread's. Empties `clients`.
  void put(std::vector<ClientId>& clients) {
    mailbox_.put_all(clients);
    wake_.wake();
  }

  // The owner's.
  [[nodiscard]] int fd() const noexcept { return wake_.fd(); }
  [[nodiscard]] std::vector<ClientId> take() {
    if (mailbox_.empty()) return {};
    // In this order: what is put in between makes it readable again.
    wake_.drain();
    return mailbox_.take();
  }

 private:
  WakeFd wake_;
  Mailbox<ClientId> mailbox_;
};

}  // namespace backplane::fanout
