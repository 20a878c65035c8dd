#pragma once
// What the publisher's thread does: it keeps a connection to a broker, sends events, learns which were
// admitted, and resends after a reconnect.

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backplane/publisher.hpp"
#include "core/zmq/client_keys.hpp"
#include "core/zmq/key_check.hpp"
#include "core/zmq/socket.hpp"
#include "publishers/lib/broker_list.hpp"
#include "publishers/lib/control_messages.hpp"
#include "publishers/lib/earlier_brokers.hpp"
#include "publishers/lib/outbox.hpp"
#include "publishers/lib/publisher_connection.hpp"
#include "publishers/lib/type_definitions.hpp"

namespace backplane::publishing {

/// Sends the events of an Outbox to one of the brokers. Lives on the thread that calls run(). Owns the
/// connection.
///
/// offline ──▶ connecting ──subscription and Hello──▶ sending ──"draining"──▶ draining
///    ▲                        └─(something sent is unconfirmed)─▶ resuming ─Admitted─▶ sending
///    │                                      sending ──an earlier broker works again──▶ returning
///    └────── from every phase: the connection ends, or the broker does not reply or confirm in time
class Sender {
 public:
  /// Starts the first connection. Throws as PublisherConnection does. `options`, `outbox` and `types` must
  /// outlive the sender.
  Sender(mq::Context& context, const Publisher::Options& options, const mq::SharedKeys& keys,
         std::uint64_t session, Outbox& outbox, const TypeDefinitions& types);

  /// Runs until Outbox::request_stop() is called, then sends the closing Hello and returns.
  void run();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Phase { offline, connecting, resuming, sending, draining, returning };

  /// @returns whether there is more to do now.
  [[nodiscard]] bool work(Clock::time_point now);
  /// Whether the broker is draining and has confirmed everything that was sent to it.
  [[nodiscard]] bool drained() const;
  void connect(Clock::time_point now);
  void disconnect(Clock::time_point now, BrokerList::Loss loss, const std::string& problem,
                  bool about_keys = false);
  /// Disconnects a connection that has ended, or could not be established.
  void on_disconnected(Clock::time_point now);
  void drop_connection();
  void on_connected(Clock::time_point now);
  /// @returns whether the broker confirms what was sent.
  [[nodiscard]] bool makes_progress(Clock::time_point now);
  [[nodiscard]] std::chrono::milliseconds confirmation_patience() const;
  void consider_return(Clock::time_point now);
  void finish_return(Clock::time_point now);
  /// Reports to the broker that this publisher ends. Blocks until it replies, goodbye_time at most.
  void say_goodbye();
  [[nodiscard]] bool alone() const { return options_.brokers.size() == 1; }
  void read_replies(Clock::time_point now);
  void on_reply(const BrokerReply& reply, Clock::time_point now);
  void on_refused(const BrokerReply& reply, bool admitted, Clock::time_point now);
  void on_admitted(const BrokerReply::Admitted& admitted, std::uint64_t stream, Clock::time_point now);
  void change_session(const std::string& evidence);
  [[nodiscard]] bool is_shared(const BrokerReply::Admitted& admitted, std::uint64_t stream);
  void count_in_doubt(const BrokerReply::Admitted& admitted, std::uint64_t stream);
  void count_refusals(const BrokerReply::Admitted& admitted, std::uint64_t stream);
  void add_in_doubt();
  void confirm(std::uint64_t sequence);

  void send_requests(Clock::time_point now);
  void send_hello(Clock::time_point now, bool closing);
  void send_request(const std::string& request, Clock::time_point now);
  [[nodiscard]] Clock::time_point next_admitted_request(const Outbox::View& view) const;

  /// Registers the types that have not been registered on this connection. @returns whether events may be
  /// sent: until its type is registered, an event would reach readers as undecoded bytes.
  [[nodiscard]] bool register_types(Clock::time_point now);
  void send_type_registration(Clock::time_point now);
  void on_types(const BrokerReply& reply);
  void report_type_problem(std::size_t files_end, const std::string& problem);

  /// @returns whether at least one event was sent and the connection can take more.
  [[nodiscard]] bool send_events(Clock::time_point now);
  void refuse_locally(std::uint64_t sequence, std::size_t event_bytes);

  void sleep();
  [[nodiscard]] Clock::time_point next_deadline() const;
  void notify_change();
  void set_problem(const std::string& problem);
  [[nodiscard]] const PublisherEndpoints& broker() const { return options_.brokers[list_.current()]; }
  [[nodiscard]] mq::KeyCheck& key_check() { return key_checks_[list_.current()]; }
  /// The addresses of broker(). The first call for a broker may block while its name is looked up.
  [[nodiscard]] BrokerAddresses& addresses();

  mq::Context& context_;
  const Publisher::Options& options_;
  const mq::SharedKeys keys_;
  std::uint64_t session_;
  Outbox& outbox_;
  const TypeDefinitions& types_;

  std::unique_ptr<PublisherConnection> connection_;
  Phase phase_{Phase::connecting};
  BrokerList list_;
  std::vector<mq::KeyCheck> key_checks_;              // by the index of the broker
  std::map<std::size_t, BrokerAddresses> addresses_;  // by the index of the broker
  EarlierBrokers earlier_;
  std::size_t return_to_{};           // for returning: the broker to go back to
  Clock::time_point phase_deadline_;  // for connecting, draining and returning
  Clock::time_point connecting_since_;
  bool was_ready_{};

  // State of this connection.
  std::optional<std::uint64_t> connection_stream_;  // of the broker that replies on it
  bool said_hello_{};                               // the broker has replied to a Hello
  bool sent_on_connection_{};
  bool blocked_{};                                // the connection's send queue is full
  std::optional<std::uint32_t> connections_max_;  // that the broker may count for the session
  std::optional<std::size_t> broker_event_bytes_max_;
  std::uint64_t first_request_id_{};
  Clock::time_point hello_at_;
  std::optional<Clock::time_point> awaiting_reply_since_;
  std::optional<std::uint64_t> admitted_request_id_;  // of the outstanding Admitted request
  Clock::time_point admitted_requested_at_;
  Clock::time_point requested_at_;      // of the last request of any kind
  Clock::time_point progress_at_;       // when a confirmation came, or nothing was unconfirmed
  Clock::time_point look_at_;           // at what the broker's kernel has acknowledged
  std::uint64_t acknowledged_bytes_{};  // of the connection
  std::uint64_t flush_target_{};
  std::chrono::milliseconds fast_interval_{};
  std::size_t registered_files_{};                 // files of types_ that the broker has accepted or refused
  std::optional<std::uint64_t> types_request_id_;  // of the outstanding registration
  std::size_t registering_files_{};                // registered_files_ once that registration is answered
  Clock::time_point types_requested_at_;
  std::optional<Clock::time_point> types_awaited_since_;  // since when events wait for their types
  bool events_await_types_{};

  // State of the session.
  std::uint64_t next_id_{1};
  std::uint64_t highest_sent_{};                 // highest sequence sent to any broker
  std::uint64_t session_sent_max_{};             // in this session, also by an earlier run: at most this
  std::uint64_t session_admitted_{};             // in this session, according to any broker
  std::uint64_t session_first_id_{};             // of the first request about this session
  std::optional<std::uint64_t> sent_to_stream_;  // stream of the broker that highest_sent_ went to, if known
  std::uint64_t in_doubt_counted_{};             // events up to this sequence are counted in in_doubt
  std::map<std::uint64_t, std::uint64_t> refused_by_stream_;
  std::map<std::uint64_t, std::uint32_t>
      connections_by_stream_;            // by which the session's events may have come
  std::size_t type_problem_reported_{};  // files of types_ whose problems have been reported
  bool types_limit_reported_{};
  std::deque<std::uint64_t> refused_locally_;  // unconfirmed events that are not sent to the broker
  std::uint64_t refused_locally_counted_{};    // events up to this sequence are counted in status

  std::array<EventFrames, 256> batch_;
  std::uint64_t notified_version_{};
};

}  // namespace backplane::publishing
