#pragma once
// The publisher's own thread: keeps a connection to a broker, sends, learns what was admitted, sends again.

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "backplane/publisher.hpp"
#include "core/zmq/socket.hpp"
#include "publishers/lib/control_messages.hpp"
#include "publishers/lib/outbox.hpp"
#include "publishers/lib/publisher_connection.hpp"
#include "publishers/lib/type_definitions.hpp"

namespace backplane::publishing {

/// Moves the events of an Outbox to one of the brokers. Lives on the thread that calls run(); owns the
/// connection.
///
/// offline ──▶ connecting ──subscription──▶ sending ──"draining"──▶ draining
///    ▲                        └─(something sent is unconfirmed)─▶ resuming ─Admitted─▶ sending
///    └────── from each of them: the connection ends, or somebody does not answer in time
class Sender {
 public:
  /// Makes the first connection. Throws as PublisherConnection does. `options`, `outbox` and `types` outlive
  /// it.
  Sender(mq::Context& context, const Publisher::Options& options, std::uint64_t session, Outbox& outbox,
         const TypeDefinitions& types);

  /// Returns when Outbox::end() was called and the goodbye is on its way.
  void run();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Phase { offline, connecting, resuming, sending, draining };

  /// @returns whether there is more to do at once.
  [[nodiscard]] bool work(Clock::time_point now);
  /// Whether the broker drains and has dealt with all that it was sent.
  [[nodiscard]] bool drained() const;
  void connect(Clock::time_point now);
  void disconnect(Clock::time_point now, const std::string& problem);
  void on_subscribed(Clock::time_point now);
  void read_replies(Clock::time_point now);
  void on_reply(const ControlAnswer& answer, Clock::time_point now);
  void on_admitted(const ControlAnswer::Admitted& admitted, std::uint64_t stream);
  void count_doubt(const ControlAnswer::Admitted& admitted, std::uint64_t stream);
  void count_refusals(const ControlAnswer::Admitted& admitted, std::uint64_t stream);
  void confirm(std::uint64_t sequence);

  void send_requests(Clock::time_point now);
  void send_hello(Clock::time_point now, bool closing);
  void send_request(const std::string& request, Clock::time_point now);
  [[nodiscard]] Clock::time_point next_ask(const Outbox::View& view) const;

  /// Tells the broker of types that it has not been told of on this connection. @returns whether events may
  /// go: one of a type that readers cannot know yet would reach them as bytes.
  [[nodiscard]] bool types_told(Clock::time_point now);
  void tell_types(Clock::time_point now);
  void on_types(const ControlAnswer& answer);
  void say_type_problem(std::size_t files_end, const std::string& problem);

  /// @returns whether everything that was there could be sent, and was something.
  [[nodiscard]] bool send_events(Clock::time_point now);
  void refuse_here(std::uint64_t sequence, std::size_t event_bytes);

  void sleep();
  [[nodiscard]] Clock::time_point next_deadline() const;
  void tell_change();
  void set_problem(const std::string& problem);
  [[nodiscard]] const PublisherEndpoints& broker() const { return options_.brokers[broker_]; }

  mq::Context& context_;
  const Publisher::Options& options_;
  const std::uint64_t session_;
  Outbox& outbox_;
  const TypeDefinitions& types_;

  std::unique_ptr<PublisherConnection> connection_;
  Phase phase_{Phase::connecting};
  std::size_t broker_{};  // index of the one in use, or to be tried next
  std::chrono::milliseconds backoff_;
  Clock::time_point retry_at_;
  Clock::time_point phase_deadline_;  // connecting and draining end here
  bool was_ready_{};

  // Of this connection.
  std::optional<std::uint64_t> connection_stream_;  // who answers on it
  bool sent_on_connection_{};
  bool blocked_{};  // the connection's queue is full
  std::optional<std::size_t> event_bytes_max_;
  std::uint64_t first_request_id_{};
  Clock::time_point hello_at_;
  std::optional<Clock::time_point> unanswered_since_;
  std::optional<std::uint64_t> ask_id_;  // the Admitted under way
  Clock::time_point asked_at_;
  std::uint64_t wanted_{};
  std::chrono::milliseconds hurry_interval_{};
  std::size_t types_done_{};               // the broker has dealt with the files of types_ up to here
  std::optional<std::uint64_t> types_id_;  // the registration under way
  std::size_t types_asked_end_{};
  Clock::time_point types_asked_at_;
  std::optional<Clock::time_point> types_wait_since_;  // events wait for it
  bool events_wait_{};

  // Of the session.
  std::uint64_t next_id_{1};
  std::uint64_t sent_ever_{};             // highest sequence sent to any broker
  std::optional<std::uint64_t> sent_to_;  // stream of the broker that it was sent to, where known
  std::uint64_t doubt_counted_{};         // in_doubt knows of the events up to here
  std::map<std::uint64_t, std::uint64_t> refused_by_stream_;
  std::size_t type_problem_told_{};  // what is wrong with the files of types_ up to here has been said
  bool types_full_told_{};
  std::deque<std::uint64_t> refused_here_;  // unconfirmed events that no broker is going to see
  std::uint64_t refused_here_counted_{};    // status knows of the events up to here

  std::array<EventFrames, 256> batch_;
  std::uint64_t told_version_{};
};

}  // namespace backplane::publishing
