#pragma once
// Connections that were accepted, but did not complete the ZeroMQ handshake.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>

namespace backplane::broker {

/// Counts the connections of one listening socket that closed before their handshake was complete: HTTP
/// requests, TLS, port scanners, peers of ZMTP 1.0 and 2.0. Fed with the events of a socket monitor, in
/// their order. A value of its owner's thread; pure, time is passed in.
///
/// libzmq reports which descriptor was accepted and which was closed, but not which one completed its
/// handshake. A close is therefore counted at once if no handshake has completed among the undecided
/// connections. If good and bad connections overlap, the count waits until the rest is decided, at most
/// `handshake_limit` after the newest of them was accepted.
class Handshakes {
 public:
  using Clock = std::chrono::steady_clock;

  /// libzmq closes a connection whose handshake takes longer than ZMQ_HANDSHAKE_IVL, 30 s by default.
  static constexpr std::chrono::seconds handshake_limit{31};

  void accepted(int descriptor, Clock::time_point now) {
    undecided_[descriptor] = now;
    newest_ = now;
  }
  void completed() {
    ++completed_;
    decide();
  }
  void closed(int descriptor) {
    // One that is not here completed its handshake earlier.
    if (undecided_.erase(descriptor) == 0) return;
    ++closed_;
    decide();
  }
  /// Decides what only time can decide. Call it about once a second.
  void tick(Clock::time_point now) {
    if (undecided_.empty() && closed_ == 0) return;
    if (now - newest_ < handshake_limit) return;
    // What is still open has completed its handshake, or libzmq would have closed it.
    const std::size_t open = undecided_.size();
    const std::size_t completed_and_closed = completed_ > open ? completed_ - open : 0;
    failed_ += closed_ > completed_and_closed ? closed_ - completed_and_closed : 0;
    forget();
  }

  /// Connections that closed before their handshake was complete.
  [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }

 private:
  void decide() {
    if (completed_ == 0) {
      failed_ += closed_;
      closed_ = 0;
    } else if (completed_ >= undecided_.size() + closed_) {
      forget();
    }
  }
  void forget() {
    undecided_.clear();
    completed_ = closed_ = 0;
  }

  std::map<int, Clock::time_point> undecided_;  // open, by descriptor: when it was accepted
  std::size_t completed_{};                     // handshakes of undecided connections, closed ones included
  std::size_t closed_{};                        // undecided connections that have closed
  Clock::time_point newest_{};
  std::uint64_t failed_{};
};

}  // namespace backplane::broker
