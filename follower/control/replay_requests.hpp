#pragma once
// Requests for history, read slice by slice across whatever becomes of the broker meanwhile.

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

/// Who takes what ReplayRequests give. May call their methods, but for ask().
class ReplaySink {
 public:
  virtual ~ReplaySink() = default;
  virtual void replayed(std::uint64_t number, const Delivery& delivery) = 0;
  virtual void replay_slice(std::uint64_t number, const ReplaySlice& slice) = 0;
};

/// The replays that somebody has asked for. A few of them are with the broker at a time, so that many
/// readers that join at once do not flood it. Lives on its follower's thread.
class ReplayRequests {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param timeout how long the broker may take for a slice. `sink` outlives it.
  ReplayRequests(ReplaySink& sink, std::chrono::milliseconds timeout);
  ~ReplayRequests();
  ReplayRequests(const ReplayRequests&) = delete;
  ReplayRequests& operator=(const ReplayRequests&) = delete;

  void begin(std::uint64_t number, std::string_view pattern, ReplayFrom from);
  void more(std::uint64_t number);
  void cancel(std::uint64_t number);

  /// Asks for what waits. Only while the broker is there; `live_position` is where reading it began: its
  /// stream, and the position of the newest live result. @returns how much was done.
  std::size_t send(ControlChannel& channel, const StreamPosition& live_position, Clock::time_point now);
  /// When ask() may have something; time_point::min() is now.
  [[nodiscard]] Clock::time_point request_deadline() const noexcept;

  /// Events in replies that are none, or not of what was asked for.
  [[nodiscard]] std::uint64_t undecodable() const noexcept { return undecodable_; }
  [[nodiscard]] std::uint64_t timeouts() const noexcept { return timeouts_; }

 private:
  struct Replay {
    std::string text;
    std::optional<Pattern> pattern;  // none: the broker is to say what is wrong with it
    ReplayFrom from;
    std::optional<StreamPosition> start;    // where the slices asked for now began, once it is a position
    std::optional<StreamPosition> through;  // all up to here has been given
    std::string cursor;
    std::optional<Reset> reset;  // to be told with the next slice
    std::uint64_t stream{};      // that was asked for last
    int refusals{};              // running
    enum class State : std::uint8_t { queued, in_flight, idle } state{State::queued};
  };

  /// @returns whether there is something to ask; else the replay is complete as it is.
  static bool choose_start(Replay& replay, const StreamPosition& live_position);
  static void write_request(const Replay& replay, v1::ControlRequest& request);
  void on_reply(std::uint64_t number, const Result<const v1::ControlReply*>& result);
  void on_failed(std::uint64_t number, Replay& replay, const Error& error);
  void on_gone(std::uint64_t number, Replay& replay, const v1::ControlReply& reply);
  /// @returns whether there were any.
  bool deliver(std::uint64_t number, const v1::ControlReply& reply);
  void report(std::uint64_t number, ReplaySlice slice);
  void requeue(std::uint64_t number, Replay& replay);

  ReplaySink& sink_;
  std::chrono::milliseconds timeout_;
  std::map<std::uint64_t, Replay> replays_;
  std::deque<std::uint64_t> queued_;
  std::size_t in_flight_{};
  Clock::time_point now_{};
  Clock::time_point not_before_{};  // not before, after a refusal
  std::uint64_t undecodable_{};
  std::uint64_t timeouts_{};
  AliveGuard alive_;
};

}  // namespace backplane::follower
