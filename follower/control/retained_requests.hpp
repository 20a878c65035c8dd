#pragma once
// Requests for retained values.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/error/error.hpp"
#include "follower/control/alive_guard.hpp"
#include "follower/order/delivery.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane {

namespace v1 {
class ControlReply;
}

/// How a request for retained values ended.
struct RetainedEnd {
  /// The values are as of these positions, one for each stream that was read: a matching event at or below
  /// them is among the values, or superseded by one. Live events after them are newer, unless they are a
  /// value that was delivered (compare Stamp::position).
  StreamPositions as_of;
  std::optional<Error> error;  ///< if set, some or all values are missing
  /// Until then, neither these values expire (`ttl`), nor values that are published meanwhile.
  std::chrono::steady_clock::time_point valid_until = std::chrono::steady_clock::time_point::max();
};

namespace follower {

class ControlChannel;

/// Receives what RetainedRequests read. May call their methods.
class RetainedSink {
 public:
  virtual ~RetainedSink() = default;
  virtual void retained(std::uint64_t number, const Delivery& delivery) = 0;
  virtual void retained_end(std::uint64_t number, const RetainedEnd& end) = 0;
};

/// The open requests for retained values. Lives on its follower's thread.
class RetainedRequests {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param timeout for each reply. `sink` outlives it. `channel` outlives it.
  RetainedRequests(RetainedSink& sink, ControlChannel& channel, std::chrono::milliseconds timeout);

  /// `number` must be new.
  void begin(std::uint64_t number, std::string_view pattern);
  void cancel(std::uint64_t number) { requests_.erase(number); }
  /// Sets the time of this turn. Call it before the channel's do_work().
  void begin_turn(Clock::time_point now) noexcept { now_ = now; }

  /// Invalid events in replies.
  [[nodiscard]] std::uint64_t undecodable() const noexcept { return undecodable_; }
  [[nodiscard]] std::uint64_t timeouts() const noexcept { return timeouts_; }

 private:
  void send(std::uint64_t number, std::string pattern, std::string cursor);
  void on_reply(std::uint64_t number, const std::string& pattern, const std::string& cursor,
                const v1::ControlReply& reply);
  void end(std::uint64_t number, std::optional<Error> error);

  RetainedSink& sink_;
  ControlChannel& channel_;
  std::chrono::milliseconds timeout_;
  std::map<std::uint64_t, RetainedEnd> requests_;  // the open ones
  Clock::time_point now_{};
  std::uint64_t undecodable_{};
  std::uint64_t timeouts_{};
  AliveGuard alive_;
};

}  // namespace follower
}  // namespace backplane
