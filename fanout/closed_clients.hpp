#pragma once
// Reports closed clients to the engine's owner.

#include <vector>

#include "core/process/wake_fd.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/mailbox.hpp"

namespace backplane::fanout {

/// Workers put closed clients, the owner's thread takes them.
class ClosedClients {
 public:
  /// Any thread. Empties `clients`.
  void put(std::vector<ClientId>& clients) {
    mailbox_.put_all(clients);
    wake_.wake();
  }

  // The owner's thread.

  /// Readable while take() has something to return.
  [[nodiscard]] int fd() const noexcept { return wake_.fd(); }
  [[nodiscard]] std::vector<ClientId> take() {
    if (mailbox_.empty()) return {};
    // In this order: clients that are put in between make fd() readable again.
    wake_.drain();
    return mailbox_.take();
  }

 private:
  WakeFd wake_;
  Mailbox<ClientId> mailbox_;
};

}  // namespace backplane::fanout
