#pragma once
// Publishes numbered events in one session at one of some brokers, and reports how far the broker has come.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/publisher.hpp"
#include "core/zmq/client_keys.hpp"
#include "core/zmq/key_check.hpp"
#include "core/zmq/socket.hpp"
#include "publishers/lib/broker_list.hpp"
#include "publishers/lib/control_messages.hpp"
#include "publishers/lib/publisher_connection.hpp"

namespace backplane::links {

/// The target of a link. Unlike a Publisher, it keeps nothing of what it sends. When a connection is lost, or
/// the broker does not confirm, the caller sends again what is not confirmed, from where it has it. Lives on
/// one thread; owns its sockets.
///
/// offline ──▶ connecting ──subscription and Hello──▶ asking ──Admitted──▶ ready ──"draining"──▶ draining
///    ▲──────── from every phase: the connection ends, or the broker does not reply or confirm in time
class TargetSession {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    std::vector<PublisherEndpoints> brokers;  ///< at least one; it uses the first that works
    mq::SharedKeys keys{};
    std::string publisher;  ///< the name under which events are published
    std::string presence;   ///< the name under which the broker shows this program as up
  };

  /// Starts to connect, and returns at once. Throws std::invalid_argument for an invalid endpoint. `context`
  /// outlives it.
  TargetSession(mq::Context& context, Options options);
  ~TargetSession();
  TargetSession(const TargetSession&) = delete;
  TargetSession& operator=(const TargetSession&) = delete;

  /// Publishes in this session from now on. is_ready() is false until the broker has said what it knows of
  /// it.
  void use_session(std::uint64_t session);

  /// Whether events can be sent: the broker has said what it knows of the session.
  [[nodiscard]] bool is_ready() const noexcept { return phase_ == Phase::ready; }
  /// Changes whenever it has become ready: then the caller sends from confirmed() on.
  [[nodiscard]] std::uint64_t run() const noexcept { return run_; }
  /// The sequence up to which the broker has admitted or refused everything; 0: it does not know the session.
  [[nodiscard]] std::uint64_t confirmed() const noexcept { return confirmed_; }
  /// Events that brokers have refused, and why the last one was.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
  [[nodiscard]] const std::string& refused_reason() const noexcept { return refused_reason_; }
  /// The stream of the broker that it is connected to; 0: none.
  [[nodiscard]] std::uint64_t stream() const noexcept { return stream_; }
  /// The broker's limit on an event; 0: unknown.
  [[nodiscard]] std::size_t event_bytes_max() const noexcept { return event_bytes_max_; }

  /// Sends an event with the next sequence. @returns false if that is not possible now.
  [[nodiscard]] bool send(std::string_view topic, std::string_view event, std::uint64_t sequence);
  /// Whether something that was sent is not confirmed.
  [[nodiscard]] bool is_waiting() const noexcept { return is_ready_or_draining() && sent_ > confirmed_; }

  /// Registers these files (serialised FileDescriptorProtos), now and on each later connection.
  void add_types(std::vector<std::string> files);
  /// Whether the broker has them all, or has refused them, or was given enough time.
  [[nodiscard]] bool has_types() const noexcept { return registered_ == types_.size(); }

  void set_counters(publishing::Counters counters) { counters_ = std::move(counters); }

  /// What is wrong, on one line; empty: nothing.
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

  /// @returns the amount of work done.
  std::size_t do_work(Clock::time_point now);
  [[nodiscard]] std::vector<int> fds();
  [[nodiscard]] bool pending();
  [[nodiscard]] Clock::time_point next_deadline() const;

  /// Reports to the broker that this program ends. Blocks for half a second at most.
  void say_goodbye();

 private:
  enum class Phase : std::uint8_t { offline, connecting, asking, ready, draining };

  [[nodiscard]] bool is_ready_or_draining() const noexcept {
    return phase_ == Phase::ready || phase_ == Phase::draining;
  }
  void connect(Clock::time_point now);
  void disconnect(Clock::time_point now, publishing::BrokerList::Loss loss, const std::string& problem);
  void on_disconnected(Clock::time_point now);
  void read_replies(Clock::time_point now);
  void on_reply(const publishing::BrokerReply& reply, Clock::time_point now);
  void on_admitted(const publishing::BrokerReply::Admitted& admitted, Clock::time_point now);
  void send_requests(Clock::time_point now);
  void send_request(const std::string& request, Clock::time_point now);
  void register_types(Clock::time_point now);
  [[nodiscard]] bool check_time(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_admitted_request() const;
  [[nodiscard]] const PublisherEndpoints& broker() const { return options_.brokers[list_.current()]; }
  [[nodiscard]] publishing::BrokerAddresses& addresses();
  [[nodiscard]] mq::KeyCheck& key_check() { return key_checks_[list_.current()]; }

  mq::Context& context_;
  Options options_;
  publishing::BrokerList list_;
  std::map<std::size_t, publishing::BrokerAddresses> addresses_;
  std::vector<mq::KeyCheck> key_checks_;
  std::unique_ptr<publishing::PublisherConnection> connection_;
  Phase phase_{Phase::offline};
  std::optional<std::uint64_t> session_;
  std::uint64_t presence_session_;
  std::uint64_t run_{};
  std::uint64_t confirmed_{};
  std::uint64_t sent_{};
  std::uint64_t refused_{};
  std::string refused_reason_;
  std::string problem_;
  publishing::Counters counters_;

  // Of this connection.
  std::uint64_t stream_{};
  bool subscribed_{};
  bool said_hello_{};
  std::size_t event_bytes_max_{};
  std::uint64_t first_id_{};
  std::uint64_t acknowledged_bytes_{};          // of the connection for events, at the last look
  std::optional<std::uint64_t> known_refused_;  // what the broker has refused of the session
  std::optional<std::uint64_t> admitted_id_;    // of the outstanding request
  Clock::time_point admitted_requested_at_{};
  std::optional<Clock::time_point> awaiting_reply_since_;
  std::optional<Clock::time_point> unconfirmed_since_;
  Clock::time_point connecting_since_{};
  Clock::time_point hello_at_{};
  Clock::time_point drain_until_{};

  std::vector<std::string> types_;
  std::size_t registered_{};   // of types_
  std::size_t registering_{};  // registered_ once the request is answered
  std::optional<std::uint64_t> types_id_;
  Clock::time_point types_requested_at_{};
  std::uint64_t next_id_{1};
  std::chrono::milliseconds confirm_patience_;
};

}  // namespace backplane::links
