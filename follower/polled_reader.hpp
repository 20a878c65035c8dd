#pragma once
// A BrokerReader that works in turns.

#include <chrono>
#include <cstddef>
#include <vector>

#include "follower/broker_reader.hpp"

namespace backplane {

/// A reader that owns sockets. It lives on one thread, which polls its descriptors and calls do_work(). It
/// never blocks. It may be constructed on another thread.
class PolledReader : public BrokerReader {
 public:
  /// Does the work that is due, at most some hundred events for each broker. Calls the listener.
  /// @returns the amount of work done. 0: sleep until a descriptor is readable or until next_deadline().
  virtual std::size_t do_work(std::chrono::steady_clock::time_point now) = 0;
  /// The descriptors to poll for reading. They never change.
  [[nodiscard]] virtual std::vector<int> fds() = 0;
  /// When do_work() is due even if no descriptor is readable; time_point::min(): now.
  [[nodiscard]] virtual std::chrono::steady_clock::time_point next_deadline() const = 0;
  /// Whether there is work now. Check it before sleeping: the descriptors are edge-triggered.
  [[nodiscard]] virtual bool pending() = 0;
  /// Lets another thread own the sockets: the next one that calls a method.
  virtual void release() = 0;
};

}  // namespace backplane
