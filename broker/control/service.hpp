#pragma once
// Answers what clients, publishers and gateways ask a broker (proto/backplane/v1/control.proto).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/state/backplane_state.hpp"

namespace backplane {
class TypeRegistry;
}

namespace backplane::broker {

class Participants;

/// The frames before the last of a request: the way back to its asker, to be sent before the reply.
using Envelope = std::vector<std::string>;

/// Where replies go. Called on the loop thread, from within request() and poll_slices(); must not call back.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  /// One reply. `bytes` hold until it returns.
  virtual void reply(const Envelope& envelope, std::string_view bytes) = 0;
};

/// Bounds of one reply, part of the contract: a single event that is larger travels alone.
inline constexpr std::size_t reply_events_max = 512;
inline constexpr std::size_t reply_bytes_max = 256u << 10;
/// How many events of history a reply has at most while events flow: a live one waits for the reply that is
/// being made.
inline constexpr std::size_t busy_reply_events_max = 128;

/// The control protocol of one backplane: every request gets exactly one reply, which ends in complete, more,
/// gone or error. Nothing is kept between requests; a request's work is bounded, however hostile it is. Lives
/// on the loop thread, owns no socket; what it refers to outlives it.
class ControlService {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param on_drain called when a drain is asked for, after the reply to that.
  ControlService(BackplaneState& state, Participants& participants, TypeRegistry& types, ReplySink& sink,
                 std::function<void()> on_drain);
  ~ControlService();
  ControlService(const ControlService&) = delete;
  ControlService& operator=(const ControlService&) = delete;

  /// Takes a request, any bytes; replies before it returns, but for reads of a history that answers later.
  void request(Envelope envelope, std::span<const std::byte> bytes, Clock::time_point now);

  /// Replies to the reads whose answers have come from the history meanwhile.
  void poll_slices();

  /// Whether events flow. While they do, slices of history are short, and a reader of much asks more often;
  /// at rest they are as long as the contract has it.
  void set_busy(bool busy) noexcept;

  /// Reads that the history has not answered yet.
  [[nodiscard]] std::size_t pending() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
