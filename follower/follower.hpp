#pragma once
// Following a broker: confirmed subscriptions, and events in order.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error/error.hpp"
#include "core/zmq/socket.hpp"
#include "follower/broker_endpoints.hpp"
#include "follower/broker_reader.hpp"
#include "follower/polled_reader.hpp"

namespace backplane {

/// State and counters of a Follower. Counters only grow.
struct FollowerStatus {
  bool connected{};          ///< as connected()
  bool control_connected{};  ///< to the broker's control endpoint
  std::size_t broker{};      ///< as BrokerReader::broker()
  bool draining{};           ///< the broker is about to exit
  /// Why the broker does not accept our keys, or that it requires some, as one line; empty: it does. It stays
  /// until the broker is connected.
  std::string key_problem{};
  std::uint64_t received{};     ///< messages from egress, without live replies
  std::uint64_t undecodable{};  ///< of these, and of events in replies: not [topic][stamped Event]
  std::uint64_t reconnects{};   ///< on_connection(true) calls after the first
  std::uint64_t control_timeouts{};
  // At every moment, expected = seen + recovered + lost (of all kinds) + unwanted + awaited.
  std::uint64_t expected{};           ///< by the offsets of events, and of tails that the broker reports
  std::uint64_t seen{};               ///< of these, delivered from egress
  std::uint64_t recovered{};          ///< missing events that a Replay recovered
  std::uint64_t lost_history_gone{};  ///< events announced by on_gap(), as far as their number is known
  std::uint64_t lost_recovery_timeout{};
  std::uint64_t lost_damaged{};
  std::uint64_t lost_upstream{};
  std::uint64_t unwanted{};  ///< events that were unsubscribed from before their turn
  std::uint64_t awaited{};   ///< now: missing events, and events that wait for them
  std::uint64_t gaps{};
  std::uint64_t gaps_of_unknown_size{};  ///< of these: Gap::first is 0
  std::uint64_t duplicates{};            ///< events that arrived again and were discarded
  std::uint64_t late{};                  ///< delivered events that were late: see Delivery::late
  std::uint64_t resets{};
  std::size_t queue_bytes{};                 ///< of received events that wait now: Options::queue_bytes_max
  std::uint64_t queue_full{};                ///< how often the limit was reached
  std::size_t reorder_buffer_bytes{};        ///< of events that wait now
  std::uint64_t reorder_buffer_discarded{};  ///< events that arrived while it was full: recovered later
  /// What the broker's file store holds, as in its last reply to a gateway's Hello; empty without one.
  std::map<std::string, std::uint64_t> store;

  /// Adds another follower's counters; its state does not count.
  FollowerStatus& operator+=(const FollowerStatus& other) noexcept;
};

/// Reads from one broker over ZeroMQ.
class Follower final : public PolledReader {
 public:
  /// For the broker's status displays.
  enum class Role : std::uint8_t { client, gateway };

  struct Options {
    BrokerEndpoints broker{};
    std::string name;  ///< sent to the broker in a Hello once a second; "": no Hello is sent
    Role role = Role::client;
    /// No other broker is read. A position in a stream of another origin is then one of this broker, which
    /// has come back under another name.
    bool only_broker = false;
    /// Reads retained values and history, and subscribes to nothing: it never connects to egress, where a
    /// broker with a policy may not admit its user. It is connected when control is.
    bool control_only = false;
    std::size_t max_event_bytes = 1u << 20;
    /// Of received events that wait because do_work() does not keep up; ZeroMQ's queue is then bounded by
    /// bytes, too: 512 MiB. 0: nothing but ZeroMQ's queue, of 100,000 events of any size.
    std::size_t queue_bytes_max = 0;
    std::chrono::milliseconds control_timeout{2000};
    /// Timeout of a live reply, after which another nonce is tried.
    std::chrono::milliseconds live_retry{1000};
    /// If nothing of a recovery arrives for this time, the missing events become a gap. A recovery
    /// that advances has no limit.
    std::chrono::milliseconds recovery_limit{1000};
    /// Of the events that wait in the reorder buffer for missing ones. Those that arrive while it is full are
    /// recovered from history later.
    std::size_t reorder_buffer_bytes_max = 64u << 20;
    /// Minimum interval between checks whether the last events of a topic were lost.
    std::chrono::milliseconds tails_interval{1000};
  };

  /// Starts connecting and returns at once. Throws std::invalid_argument if there is no broker or an endpoint
  /// is invalid, and zmq::error_t if libzmq cannot create its sockets. `context` and `listener` outlive it.
  Follower(mq::Context& context, Options options, ReaderListener& listener);
  /// Sends a closing Hello to the broker, if it has sent one before.
  ~Follower() override;
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  /// Not with control_only.
  std::uint64_t subscribe(std::string_view prefix) override;
  void unsubscribe(std::string_view prefix) override;
  std::uint64_t retained(std::string_view pattern) override;
  std::uint64_t replay(std::string_view pattern, const ReplayFrom& from) override;
  void replay_more(std::uint64_t request) override;
  void cancel(std::uint64_t request) override;
  void topics(std::string_view pattern, std::string_view cursor,
              std::function<void(Result<TopicsPage>)> handler) override;
  void types(const std::vector<std::string>& names, std::function<void(Result<TypesReply>)> handler) override;
  [[nodiscard]] StreamPositions live_positions() const override;
  [[nodiscard]] bool is_recovering() const noexcept override;
  [[nodiscard]] StreamPositions low_watermarks() const override;
  [[nodiscard]] bool may_arrive(std::string_view topic, const wire::Stamp& stamp) const override;
  [[nodiscard]] std::size_t broker() const noexcept override;

  /// Reading has reached these positions before. When this broker's stream is first seen and it is one of
  /// theirs, reading begins there, and what has been missed is recovered. If the broker has restarted without
  /// its state, a reset is reported. Call it before the broker has connected.
  void assume(const StreamPositions& positions);

  /// Leaves the broker for another one that publishes the same stream, and continues there exactly where it
  /// is, as after a reconnect: on_connection(false) and (true) are reported. Neither broker is in the same
  /// process; both or none have keys.
  void move_to(const BrokerEndpoints& broker);

  /// Requests the broker's counters and the programs connected to it; `handler` as for topics().
  void stats(std::function<void(Result<BrokerStats>)> handler);

  /// Sets the counters that are sent with each Hello: a gateway's "clients", "deliveries", …
  void set_counters(std::vector<std::pair<std::string, std::uint64_t>> counters);

  std::size_t do_work(std::chrono::steady_clock::time_point now) override;
  [[nodiscard]] std::vector<int> fds() override;
  [[nodiscard]] std::chrono::steady_clock::time_point next_deadline() const override;
  [[nodiscard]] bool pending() override;
  void release() override;

  /// Whether a broker is connected, with all subscriptions active that were made before.
  [[nodiscard]] bool connected() const noexcept;
  [[nodiscard]] FollowerStatus status() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
