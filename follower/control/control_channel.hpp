#pragma once
// Asking a broker on its control endpoint.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/error/error.hpp"
#include "core/zmq/socket.hpp"
#include "follower/connection/connection.hpp"

namespace backplane::v1 {
class ControlReply;
class ControlRequest;
}  // namespace backplane::v1

namespace backplane::follower {

/// Requests to one broker, each with its answer or an error. Lives on its follower's thread; owns its
/// sockets. Never blocks.
class ControlChannel {
 public:
  using Clock = std::chrono::steady_clock;
  /// The reply (which holds during the call) or why there is none: unavailable, timeout, exhausted, or
  /// the broker's own refusal as protocol. May ask again.
  using Handler = std::function<void(const Result<const v1::ControlReply*>&)>;

  enum class Urgency {
    can_wait,  ///< waits for a broker, and is asked again after a reconnect; at most some are out at a time
    urgent,    ///< goes before the patient ones; fails at once where there is no broker
  };

  /// Throws std::invalid_argument for an endpoint that cannot be used.
  ControlChannel(mq::Context& context, const std::string& endpoint, std::int64_t max_message_bytes);

  /// Queues a request; version and id are set here. `limit` runs from the moment it is sent.
  /// `handler` is called once, from do_work().
  void send(v1::ControlRequest& request, std::chrono::milliseconds timeout, Urgency urgency, Handler handler);
  /// Sends a request at once, if there is a broker, and ignores the reply. For goodbyes.
  void post(v1::ControlRequest& request);

  /// Takes the requests of a channel to another broker, which is about to end: what was asked there is asked
  /// here. Its handlers will be called from here.
  void adopt_requests(ControlChannel& other);

  /// @returns how much was done.
  std::size_t do_work(Clock::time_point now);
  [[nodiscard]] bool pending();
  [[nodiscard]] Clock::time_point next_deadline() const;
  void add_fds(std::vector<int>& fds);
  /// Gives the sockets away: the next thread that uses them owns them.
  void release();

  [[nodiscard]] bool connected() const noexcept { return connection_.up(); }
  /// Replies that cannot be read, or that nobody asked for (late ones among them).
  [[nodiscard]] std::uint64_t stray_replies() const noexcept { return stray_replies_; }

 private:
  struct Request {
    std::string bytes;  // without the id, which is appended as it is sent
    std::chrono::milliseconds timeout{};
    Urgency urgency{};
    Handler handler;
    Clock::time_point deadline{};
  };

  std::size_t watch_connection(Clock::time_point now);
  std::size_t receive_replies();
  std::size_t expire(Clock::time_point now);
  std::size_t send_queued(Clock::time_point now);
  void requeue_in_flight();
  void handle_reply(const zmq::message_t& frame);
  [[nodiscard]] bool can_send() const;

  mq::Socket socket_;
  Connection connection_;
  std::uint64_t last_id_{};
  std::deque<Request> urgent_;
  std::deque<Request> queued_;
  std::map<std::uint64_t, Request> in_flight_;  // by id, and so in the order of sending
  std::deque<Request> rejected_;                // over the limit of waiting requests
  std::uint64_t stray_replies_{};
};

}  // namespace backplane::follower
