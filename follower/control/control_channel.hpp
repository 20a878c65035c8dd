#pragma once
// Requests to a broker on its control endpoint.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/error/error.hpp"
#include "core/zmq/client_keys.hpp"
#include "core/zmq/key_check.hpp"
#include "core/zmq/socket.hpp"
#include "follower/connection/connection.hpp"
#include "follower/control/reply_size.hpp"

namespace backplane::v1 {
class ControlReply;
class ControlRequest;
}  // namespace backplane::v1

namespace backplane::follower {

/// Sends requests to one broker and calls a handler with each reply or error. Lives on its follower's thread;
/// owns its sockets. Never blocks.
///
/// Timeouts apply to progress. A request does not time out while a part of a reply arrives, or replies to
/// earlier requests, up to reply_time_max. Over a slow path, it requests short replies (ReplySize).
class ControlChannel {
 public:
  using Clock = std::chrono::steady_clock;
  /// Receives the reply, which is valid during the call, or an error: unavailable, timeout, exhausted, or
  /// what the broker refused. The handler may send requests.
  using Handler = std::function<void(const Result<const v1::ControlReply*>&)>;

  enum class Urgency {
    can_wait,  ///< waits for a broker, and is sent again after a reconnect; a limited number is in flight
    urgent,    ///< sent before those that can wait; fails at once without a broker
  };

  /// No request waits longer than this for its reply.
  static constexpr std::chrono::seconds reply_time_max{60};

  /// Throws std::invalid_argument for an invalid endpoint.
  ControlChannel(mq::Context& context, const std::string& endpoint, const mq::SharedKeys& keys,
                 std::int64_t max_message_bytes);

  /// Queues a request; sets its version, id and reply size. `timeout` runs from the moment when it is sent,
  /// or something has arrived. `handler` is called once, from do_work(); `on_progress`, whenever the timeout
  /// begins again. It must not call this object.
  void send(v1::ControlRequest& request, std::chrono::milliseconds timeout, Urgency urgency, Handler handler,
            std::function<void()> on_progress = {});
  /// Sends a request at once if there is a broker, and ignores the reply. For goodbyes.
  void post(v1::ControlRequest& request);

  /// @returns the amount of work done.
  std::size_t do_work(Clock::time_point now);
  [[nodiscard]] bool pending();
  [[nodiscard]] Clock::time_point next_deadline() const;
  void add_fds(std::vector<int>& fds);
  /// Continues at another broker of the same cluster, as after a reconnect. As Connection::move_to().
  void move_to(const std::string& endpoint, const mq::SharedKeys& keys) {
    connection_.move_to(endpoint, keys);
  }
  /// Lets another thread own the sockets: the next one that calls a method.
  void release();

  [[nodiscard]] bool connected() const noexcept { return connection_.up(); }
  /// How often it has been connected.
  [[nodiscard]] std::uint64_t connections() const noexcept { return connections_; }
  /// What is wrong with the keys since it was connected.
  [[nodiscard]] const mq::KeyCheck& keys() const noexcept { return connection_.keys(); }

 private:
  struct Request {
    std::string bytes;  // without the id and the reply's size, which are appended when it is sent
    std::chrono::milliseconds timeout{};
    Urgency urgency{};
    Handler handler;
    std::function<void()> on_progress;
    Clock::time_point sent{};
    Clock::time_point deadline{};
    std::size_t reply_bytes_max{};
    bool alone{};  // in flight, when it was sent
  };

  std::size_t watch_connection(Clock::time_point now);
  std::size_t receive_replies(Clock::time_point now);
  std::size_t expire(Clock::time_point now);
  std::size_t send_queued(Clock::time_point now);
  void requeue_in_flight();
  void handle_reply(const zmq::message_t& frame, Clock::time_point now);
  void look_for_parts(Clock::time_point now);
  static void extend(Request& request, Clock::time_point now);
  [[nodiscard]] bool can_send() const;

  mq::Socket socket_;
  Connection connection_;
  std::uint64_t connections_{};
  std::uint64_t last_id_{};
  std::deque<Request> urgent_;
  std::deque<Request> queued_;
  std::map<std::uint64_t, Request> in_flight_;  // by id, which is the order of sending
  std::deque<Request> rejected_;                // above queued_max

  ReplySize reply_size_;
  Clock::time_point last_reply_{};
  std::optional<Clock::time_point> unanswered_since_;  // a request, or the newest part of a reply
  // Of the reply that is arriving.
  Clock::time_point look_at_{};
  std::uint64_t received_bytes_{};  // by the last look
  bool skip_look_{};                // the bytes since the last look may be of complete replies
};

}  // namespace backplane::follower
