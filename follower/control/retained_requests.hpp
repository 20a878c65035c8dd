#pragma once
// Requests for the newest values of topics, read in pieces.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/error/error.hpp"
#include "follower/control/alive_guard.hpp"
#include "follower/order/delivery.hpp"

namespace backplane {

namespace v1 {
class ControlReply;
}

/// How a question for retained values ended.
struct RetainedEnd {
  /// The values stand for this place: all that matches up to it is in them or superseded by them. Live
  /// events behind it are news, unless they are a value that was given (compare Stamp::position).
  std::uint64_t stream{};
  std::uint64_t position{};
  std::optional<Error> error;  ///< then only some values have come, or none
  /// Until then none of them ends for its ttl, nor any that is published meanwhile.
  std::chrono::steady_clock::time_point valid_until = std::chrono::steady_clock::time_point::max();
};

namespace follower {

class ControlChannel;

/// Who takes what RetainedRequests give. May call their methods.
class RetainedSink {
 public:
  virtual ~RetainedSink() = default;
  virtual void retained(std::uint64_t number, const Delivery& delivery) = 0;
  virtual void retained_end(std::uint64_t number, const RetainedEnd& end) = 0;
};

/// The retained values that somebody has asked for. Lives on its follower's thread.
class RetainedRequests {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param timeout how long the broker may take for a piece. `sink` outlives it; so does `channel`, or it is
  /// exchanged by use().
  RetainedRequests(RetainedSink& sink, ControlChannel& channel, std::chrono::milliseconds timeout);

  /// Each number once.
  void begin(std::uint64_t number, std::string_view pattern);
  void cancel(std::uint64_t number) { requests_.erase(number); }
  /// What is asked from now on goes through another channel.
  void use(ControlChannel& channel) noexcept { channel_ = &channel; }
  /// The time of the turn: before the channel's do_work().
  void begin_turn(Clock::time_point now) noexcept { now_ = now; }

  /// Events in replies that are none.
  [[nodiscard]] std::uint64_t undecodable() const noexcept { return undecodable_; }
  [[nodiscard]] std::uint64_t timeouts() const noexcept { return timeouts_; }

 private:
  void send(std::uint64_t number, std::string pattern, std::string cursor);
  void on_reply(std::uint64_t number, const std::string& pattern, const std::string& cursor,
                const v1::ControlReply& reply);
  void end(std::uint64_t number, std::optional<Error> error);

  RetainedSink& sink_;
  ControlChannel* channel_;
  std::chrono::milliseconds timeout_;
  std::map<std::uint64_t, RetainedEnd> requests_;  // those that have not ended
  Clock::time_point now_{};
  std::uint64_t undecodable_{};
  std::uint64_t timeouts_{};
  AliveGuard alive_;
};

}  // namespace follower
}  // namespace backplane
