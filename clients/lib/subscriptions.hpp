#pragma once
// The subscriptions of a client: how history joins live events, and which subscriptions match an event.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "backplane/client.hpp"
#include "clients/lib/item_queue.hpp"
#include "core/topic/pattern.hpp"
#include "core/topic/string_hash.hpp"
#include "follower/broker_reader.hpp"
#include "follower/order/read_positions.hpp"

namespace backplane::client {

struct SubscriptionGroup;

/// One pattern of a subscription. Owned by its group. It outlives unsubscribe() until the queue is empty,
/// because records refer to it.
struct PatternSubscription {
  enum class State : std::uint8_t {
    pending,    ///< not active yet
    retained,   ///< last values are being read, live events go to the join buffer
    replaying,  ///< the same for history
    live,
  };
  /// A live event, or a gap between live events, in the join buffer.
  struct Buffered {
    std::string topic;
    std::string event;
    wire::Stamp stamp;
    bool late{};
    std::uint64_t resume_at{};
    std::optional<Client::Gap> gap;
  };

  explicit PatternSubscription(Pattern with) : pattern(std::move(with)) {}

  std::uint64_t number{};  ///< never reused
  SubscriptionGroup* group{};
  Pattern pattern;
  State state{State::pending};
  bool ended{};
  std::uint64_t ticket{};
  std::uint64_t request{};  ///< for history or last values; 0: none
  std::deque<Buffered> join_buffer;
  std::size_t join_buffer_bytes{};
  /// For each stream, the last event that did not fit into the join buffer.
  ReadPositions discarded;
  StreamPositions joined;  ///< the positions up to which events came from history
  // How far its events have been delivered:
  ReadPositions read;
  bool delivered_live{};
};

/// One subscribe(): a PatternSubscription for each pattern. Owned by Subscriptions.
struct SubscriptionGroup {
  /// A topic whose interval (`every`) has not ended.
  struct Throttled {
    PatternSubscription* subscription{};
    std::string topic;
    std::optional<std::string> event;  ///< the latest one since the interval began
    wire::Stamp stamp;
    bool from_history{};
    bool late{};
    std::uint64_t resume_at{};
  };
  using Clock = std::chrono::steady_clock;

  Client::Subscription id{};
  SubscribeOptions options;
  ReplayFrom from;  ///< only if `since` is set
  bool since{};
  std::vector<std::unique_ptr<PatternSubscription>> subscriptions;
  std::size_t waiting{};  ///< patterns that are not active yet
  std::unordered_map<std::string, Throttled, StringHash, std::equal_to<>> throttled;
  std::deque<std::pair<Clock::time_point, std::string>> throttle_deadlines;
};

/// The subscriptions of one client. Lives on the client's thread. Listens to the client's reader and fills
/// its queue; does no I/O of its own.
class Subscriptions final : public ReaderListener {
 public:
  using Clock = std::chrono::steady_clock;

  /// `queue` outlives it. `join_bytes_max` limits the join buffer of each pattern.
  Subscriptions(ItemQueue& queue, std::size_t join_bytes_max);
  ~Subscriptions() override;

  /// Called once, before any other method. `broker` outlives this object.
  void attach(BrokerReader& broker) noexcept { broker_ = &broker; }

  /// Throws std::invalid_argument as Client::subscribe() does.
  Client::Subscription subscribe(const std::vector<std::string>& patterns, const SubscribeOptions& options);
  void unsubscribe(Client::Subscription id);

  /// Ends intervals (`every`) and, if the queue is empty, continues replays. Call it once per turn.
  /// @returns the amount of work done.
  std::size_t tick(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_deadline() const;

  /// Records that the caller has taken an item of the queue.
  void on_delivered(const ItemQueue::Record& record);
  /// For Client::resume_token().
  [[nodiscard]] std::vector<StreamPosition> read_positions() const;
  [[nodiscard]] std::uint64_t conflated() const noexcept { return conflated_; }

  void on_event(const Delivery& delivery) override;
  void on_live(std::uint64_t ticket) override;
  void on_connection(bool up) override;
  void on_key_problem(const std::string& problem) override;
  void on_retained(std::uint64_t request, const Delivery& delivery) override;
  void on_retained_end(std::uint64_t request, const RetainedEnd& end) override;
  void on_replayed(std::uint64_t request, const Delivery& delivery) override;
  void on_replayed_gap(std::uint64_t request, const Gap& gap) override;
  void on_replay_slice(std::uint64_t request, const ReplaySlice& slice) override;
  void on_gap(const Gap& gap) override;
  void on_reset(const Reset& reset) override;

 private:
  struct Match {
    PatternSubscription* subscription{};
    std::uint64_t number{};  // of the subscription, which may have ended
    std::uint64_t stream{};  // events of this stream up to `offset` came from history
    std::uint64_t offset{};
  };
  struct Topic {
    std::uint64_t generation{};
    std::vector<Match> matches;
  };
  using Topics = std::unordered_map<std::string, Topic, StringHash, std::equal_to<>>;

  Topics::value_type& topic_of(std::string_view name);
  void find_matches(std::string_view name, Topic& topic);
  PatternSubscription* subscription_of(std::uint64_t request);
  void activate(PatternSubscription& subscription);
  void start(PatternSubscription& subscription);
  void buffer(PatternSubscription& subscription, PatternSubscription::Buffered buffered);
  void join(PatternSubscription& subscription, const StreamPositions& through);
  void deliver_history(PatternSubscription& subscription, const Delivery& delivery);
  void deliver_live(PatternSubscription& subscription, Match& match, const Delivery& delivery,
                    std::optional<ItemQueue::Bytes>& bytes);
  void enqueue(PatternSubscription& subscription, const Delivery& delivery, bool from_history,
               std::optional<ItemQueue::Bytes>& bytes);
  [[nodiscard]] bool throttle(PatternSubscription& subscription, const Delivery& delivery, bool from_history);
  void enqueue_gap(PatternSubscription& subscription, const Match& match, Client::Gap gap);
  void report_reset(const Reset& reset, std::uint64_t position);
  std::size_t end_throttles(SubscriptionGroup& group);

  ItemQueue& queue_;
  std::size_t join_buffer_bytes_max_;
  BrokerReader* broker_{};
  bool broker_up_{};
  Clock::time_point now_{};

  std::map<std::uint64_t, std::unique_ptr<SubscriptionGroup>> groups_;
  std::vector<std::unique_ptr<SubscriptionGroup>> ended_;  // records may refer to them
  std::vector<SubscriptionGroup*> throttled_groups_;
  std::uint64_t last_group_{};
  std::uint64_t last_pattern_{};

  std::unordered_map<std::string, std::vector<PatternSubscription*>, StringHash, std::equal_to<>> exact_;
  std::vector<PatternSubscription*> wildcards_;
  Topics topics_;
  Topics::value_type* recent_{};
  std::uint64_t generation_{1};

  std::deque<PatternSubscription*> pending_;                // in ticket order
  std::map<std::uint64_t, PatternSubscription*> requests_;  // that read history
  std::vector<std::uint64_t> replays_to_continue_;          // once the queue is empty
  std::optional<Reset> reported_reset_;
  std::uint64_t conflated_{};
  ReadPositions live_read_;  // as delivered, for all that have caught up
};

}  // namespace backplane::client
