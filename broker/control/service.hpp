#pragma once
// The control protocol: requests of clients, publishers and gateways (proto/backplane/v1/control.proto).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/access/access.hpp"
#include "broker/state/backplane_state.hpp"

namespace backplane {
class TypeRegistry;
}

namespace backplane::broker {

class CommitLog;
class Participants;

/// The frames before the last of a request: the client's address. They are sent before the reply.
using Envelope = std::vector<std::string>;

/// Receives the replies. Called on the loop thread, from within request() and poll(); must not call
/// back.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  /// Sends one reply. `bytes` are valid until it returns.
  virtual void reply(const Envelope& envelope, std::string_view bytes) = 0;
};

/// Limits of one reply, part of the protocol. A single larger event travels alone.
inline constexpr std::size_t reply_events_max = 512;
inline constexpr std::size_t reply_bytes_max = 256u << 10;
/// Limit of history events per reply while events flow: a live event waits until the current reply is made.
inline constexpr std::size_t busy_reply_events_max = 128;

/// The control protocol of one backplane. Each request gets exactly one reply, which ends in complete, more,
/// gone or error. Nothing is kept between requests. The work per request is bounded, even for hostile ones.
/// Lives on the loop thread; owns no socket. Everything it refers to outlives it.
class ControlService {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param on_drain called after the reply to a DrainRequest.
  ControlService(BackplaneState& state, Access& access, Participants& participants, TypeRegistry& types,
                 CommitLog& log, ReplySink& sink, std::function<void()> on_drain);
  ~ControlService();
  ControlService(const ControlService&) = delete;
  ControlService& operator=(const ControlService&) = delete;

  /// Handles a request of any bytes. Replies before it returns, except to reads that the history completes
  /// later, and to a publisher whose events are being written, or are on their way through the commit log.
  /// @param sender Access::sender_of() the message
  void request(Envelope envelope, std::span<const std::byte> bytes, Clock::time_point now,
               const Sender& sender = {});

  /// Replies to what the history has completed and the commit log has applied since. Call it after each batch
  /// that is published, before the next one is taken.
  void poll();

  /// Registers types that a replicated log has committed. `is_own`: that this service has appended, in the
  /// same order.
  void register_types(std::string_view descriptor_set, bool is_own);

  /// Sets whether events flow. While they do, slices of history are short, and a reader of much history sends
  /// more requests; otherwise they are as long as the protocol allows.
  void set_busy(bool busy) noexcept;

  /// Requests that the history or the commit log has not completed yet.
  [[nodiscard]] std::size_t pending() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
