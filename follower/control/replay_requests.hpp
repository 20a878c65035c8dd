#pragma once
// Requests for history, slice by slice, across reconnects and restarts of the broker.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/topic/pattern.hpp"
#include "follower/control/alive_guard.hpp"
#include "follower/control/replay_slice.hpp"
#include "follower/order/delivery.hpp"

namespace backplane::v1 {
class ControlReply;
class ControlRequest;
}  // namespace backplane::v1

namespace backplane::follower {

class ControlChannel;

/// Receives what ReplayRequests read. May call their methods except send().
class ReplaySink {
 public:
  virtual ~ReplaySink() = default;
  virtual void replayed(std::uint64_t number, const Delivery& delivery) = 0;
  /// Events that the broker can no longer read.
  virtual void replayed_gap(std::uint64_t number, const Gap& gap) = 0;
  virtual void replay_slice(std::uint64_t number, const ReplaySlice& slice) = 0;
};

/// The open replays. Only a few requests are in flight at a time: many readers that join at once must not
/// flood the broker. Lives on its follower's thread.
class ReplayRequests {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param timeout for each slice. `sink` outlives it.
  /// @param only_broker a position in a stream of another origin is one of this broker too
  ReplayRequests(ReplaySink& sink, std::chrono::milliseconds timeout, bool only_broker = false);
  ~ReplayRequests();
  ReplayRequests(const ReplayRequests&) = delete;
  ReplayRequests& operator=(const ReplayRequests&) = delete;

  void begin(std::uint64_t number, std::string_view pattern, ReplayFrom from);
  void more(std::uint64_t number);
  void cancel(std::uint64_t number);

  /// Sends queued requests. Only while the broker is connected. `live_position` is its stream and the
  /// position in the newest live reply. @returns the amount of work done.
  std::size_t send(ControlChannel& channel, const StreamPosition& live_position, Clock::time_point now);
  /// When send() may have something to send; time_point::min(): now.
  [[nodiscard]] Clock::time_point request_deadline() const noexcept;

  /// Events in replies that are invalid, or do not match the request.
  [[nodiscard]] std::uint64_t undecodable() const noexcept { return undecodable_; }
  [[nodiscard]] std::uint64_t timeouts() const noexcept { return timeouts_; }

 private:
  struct Replay {
    std::string text;
    std::optional<Pattern> pattern;  // none: invalid, and the broker will say why
    ReplayFrom from;
    std::optional<StreamPosition> start;    // where the current slices began, once it is a position
    std::optional<StreamPosition> through;  // everything up to here has been delivered
    std::string cursor;
    /// Of SinceAgo, fixed by the first request: those that continue by a cursor repeat it.
    std::optional<std::chrono::nanoseconds> ago;
    std::optional<Reset> reset;  // to be reported with the next slice
    std::uint64_t stream{};      // of the broker, at the last request
    bool has_no_earlier{};       // the broker has nothing left of the incarnation that was read
    int refusals{};              // in a row
    enum class State : std::uint8_t { queued, in_flight, idle } state{State::queued};
  };

  /// @returns false if nothing needs to be requested: the replay is complete.
  bool choose_start(Replay& replay, const StreamPosition& live_position);
  static void write_request(Replay& replay, v1::ControlRequest& request);
  void on_reply(std::uint64_t number, const Result<const v1::ControlReply*>& result);
  void on_failed(std::uint64_t number, Replay& replay, const Error& error);
  void on_gone(std::uint64_t number, Replay& replay, const v1::ControlReply& reply);
  /// @returns whether the reply contained events.
  bool deliver(std::uint64_t number, const v1::ControlReply& reply);
  void report(std::uint64_t number, ReplaySlice slice);
  void requeue(std::uint64_t number, Replay& replay);

  ReplaySink& sink_;
  std::chrono::milliseconds timeout_;
  bool only_broker_;
  std::map<std::uint64_t, Replay> replays_;
  std::deque<std::uint64_t> queued_;
  std::size_t in_flight_{};
  Clock::time_point now_{};
  Clock::time_point not_before_{};  // after a refusal
  std::uint64_t undecodable_{};
  std::uint64_t timeouts_{};
  AliveGuard alive_;
};

}  // namespace backplane::follower
