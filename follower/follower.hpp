#pragma once
// Following a broker: subscriptions that are known to be in force, and events in order.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
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

namespace backplane {

/// What a Follower has seen so far. Counters only grow.
struct FollowerStatus {
  bool connected{};             ///< as connected()
  bool control_connected{};     ///< the broker's control endpoint has us
  std::size_t broker{};         ///< index in Options::brokers of the one that is followed, or tried
  bool draining{};              ///< the broker is about to end
  std::uint64_t received{};     ///< messages from egress; live answers and others' are not counted
  std::uint64_t undecodable{};  ///< of these (and of replies' events): not [topic][stamped Event]
  std::uint64_t reconnects{};   ///< how often on_connection(true) came again
  std::uint64_t control_timeouts{};
  // The books: at every moment expected = seen + recovered + lost (of both kinds) + unwanted + awaited.
  std::uint64_t expected{};           ///< by the numbers of events, and of those that the broker tells of
  std::uint64_t seen{};               ///< of these, delivered as they came on egress
  std::uint64_t recovered{};          ///< events that were missing, and were fetched by Replay
  std::uint64_t lost_history_gone{};  ///< events announced by on_gap(), as far as their number is known
  std::uint64_t lost_recovery_timeout{};
  std::uint64_t unwanted{};  ///< neither: nobody was subscribed to them any more when it was their turn
  std::uint64_t awaited{};   ///< now: missing, or waiting for those that are
  std::uint64_t gaps{};
  std::uint64_t gaps_of_unknown_size{};  ///< of these: Gap::first is 0
  std::uint64_t duplicates{};            ///< events that came again and were left out
  std::uint64_t late{};                  ///< of what was delivered: see Delivery::late
  std::uint64_t resets{};
  std::size_t reorder_buffer_bytes{};  ///< of events that wait now for others to be fetched
};

/// A reader of one broker's egress, or of the next one of a list where that one is gone. Lives on one
/// thread, which polls its descriptors and calls do_work(); owns its sockets. It never blocks. May be made
/// on another thread than it lives on.
class Follower final : public BrokerReader {
 public:
  /// What we are, for status displays.
  enum class Role : std::uint8_t { client, gateway };

  struct Options {
    /// Tried in order, again and again: the next one where there has been none for `broker_patience`, at
    /// once where the last one said that it ends. At least one.
    std::vector<BrokerEndpoints> brokers{BrokerEndpoints{}};
    std::chrono::milliseconds broker_patience{1000};
    std::string name;  ///< who we are, said to the broker once a second; "" says nothing
    Role role = Role::client;
    std::size_t max_event_bytes = 1u << 20;
    std::chrono::milliseconds control_timeout{2000};
    /// How long to wait for a live answer before asking again.
    std::chrono::milliseconds live_retry{1000};
    /// How long, and with how many bytes, a stream's events wait for one that was lost on the way and is
    /// being fetched; then it becomes a gap.
    std::chrono::milliseconds recovery_limit{1000};
    std::size_t reorder_buffer_bytes_max = 64u << 20;
    /// How often at most the broker is asked whether a topic that fell quiet has lost its last events.
    std::chrono::milliseconds tails_interval{1000};
  };

  /// Starts connecting and returns at once. Throws std::invalid_argument for no broker, or an endpoint
  /// that cannot be used, zmq::error_t where libzmq cannot make its sockets. `context` and `listener`
  /// outlive it.
  Follower(mq::Context& context, Options options, ReaderListener& listener);
  /// Says goodbye to the broker, where it has said hello.
  ~Follower() override;
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  std::uint64_t subscribe(std::string_view prefix) override;
  void unsubscribe(std::string_view prefix) override;
  std::uint64_t retained(std::string_view pattern) override;
  std::uint64_t replay(std::string_view pattern, const ReplayFrom& from) override;
  void replay_more(std::uint64_t request) override;
  void cancel(std::uint64_t request) override;
  void topics(std::string_view pattern, std::string_view cursor,
              std::function<void(Result<TopicsPage>)> handler) override;
  void types(const std::vector<std::string>& names, std::function<void(Result<TypesReply>)> handler) override;
  [[nodiscard]] StreamPosition live_position() const noexcept override;
  [[nodiscard]] bool is_recovering() const noexcept override;
  [[nodiscard]] StreamPosition low_watermark() const noexcept override;
  [[nodiscard]] std::size_t broker() const noexcept override;

  /// Requests the broker's counters and participants. `handler` is called once, from do_work(), as that of
  /// topics().
  void stats(std::function<void(Result<BrokerStats>)> handler);

  /// Counters that go with the hello, for status displays: a gateway's "clients", "deliveries", …
  void set_counters(std::vector<std::pair<std::string, std::uint64_t>> counters);

  /// Does what is to be done now, at most some hundred events, and returns how much that was; 0: sleep
  /// until a descriptor is readable or `next_deadline` comes.
  std::size_t do_work(std::chrono::steady_clock::time_point now);
  /// What to wait for to be readable: the same for the follower's whole life.
  [[nodiscard]] std::vector<int> fds();
  /// When do_work() has something to do without any descriptor; time_point::min(): now.
  [[nodiscard]] std::chrono::steady_clock::time_point next_deadline() const;
  /// Whether there is work at once. Ask before sleeping: the descriptors are edge-triggered.
  [[nodiscard]] bool pending();

  /// Whether the broker is there with all subscriptions in force that were made before it came.
  [[nodiscard]] bool connected() const noexcept;
  [[nodiscard]] FollowerStatus status() const;

  /// Gives the sockets away: the next thread that calls a method owns them.
  void release();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
