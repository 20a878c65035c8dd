#pragma once
// Following every broker of a list at once.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/zmq/socket.hpp"
#include "follower/broker_reader.hpp"
#include "follower/follower.hpp"
#include "follower/polled_reader.hpp"

namespace backplane {

/// Reads from every broker of a list at once, each with a Follower of its own. Readers therefore receive a
/// publisher's events whichever broker it moves to. Each broker's stream is followed, repaired and accounted
/// for separately; there is no order between streams. Brokers of a cluster publish one stream: it is read at
/// one of them, and, when that one goes away, exactly continued at another.
///
/// A broker that is not connected is expected until it has been away for `broker_patience`. The group is
/// connected when at least one broker is connected and no other is expected. Subscriptions are active when
/// every connected broker has confirmed them. A broker that is away longer delays nothing; when it comes
/// back, its events are read too.
class BrokerGroup final : public PolledReader {
 public:
  struct Options {
    std::vector<BrokerEndpoints> brokers{BrokerEndpoints{}};  ///< at least one, each once
    /// How long a broker that is away delays operations that wait for all brokers.
    std::chrono::milliseconds broker_patience{1000};
    Follower::Options follower;  ///< for each broker; its endpoints are not used
  };

  /// Starts connecting and returns at once. Throws as Follower's constructor does, and
  /// std::invalid_argument if there is no broker or one is listed twice. `context` and `listener` outlive it.
  BrokerGroup(mq::Context& context, Options options, ReaderListener& listener);
  ~BrokerGroup() override;
  BrokerGroup(const BrokerGroup&) = delete;
  BrokerGroup& operator=(const BrokerGroup&) = delete;

  std::uint64_t subscribe(std::string_view prefix) override;
  void unsubscribe(std::string_view prefix) override;
  /// If several brokers have a value of a topic, the value received last is reported.
  std::uint64_t retained(std::string_view pattern) override;
  /// The brokers' histories are read one after the other, each in position order.
  std::uint64_t replay(std::string_view pattern, const ReplayFrom& from) override;
  void replay_more(std::uint64_t request) override;
  void cancel(std::uint64_t request) override;
  /// If several brokers have a topic, the entry with the most recently received event is reported.
  void topics(std::string_view pattern, std::string_view cursor,
              std::function<void(Result<TopicsPage>)> handler) override;
  void types(const std::vector<std::string>& names, std::function<void(Result<TypesReply>)> handler) override;
  [[nodiscard]] StreamPositions live_positions() const override;
  [[nodiscard]] bool is_recovering() const override;
  [[nodiscard]] StreamPositions low_watermarks() const override;
  [[nodiscard]] bool may_arrive(std::string_view topic, const wire::Stamp& stamp) const override;
  [[nodiscard]] std::size_t broker() const override;

  void set_counters(const std::vector<std::pair<std::string, std::uint64_t>>& counters);

  std::size_t do_work(std::chrono::steady_clock::time_point now) override;
  [[nodiscard]] std::vector<int> fds() override;
  [[nodiscard]] std::chrono::steady_clock::time_point next_deadline() const override;
  [[nodiscard]] bool pending() override;
  void release() override;

  /// Whether the group is connected, as described above.
  [[nodiscard]] bool connected() const noexcept;
  /// The sums of the followers' counters; `connected`, `control_connected` and `draining` as of broker();
  /// `key_problem` of the first broker that has one.
  [[nodiscard]] FollowerStatus status() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
