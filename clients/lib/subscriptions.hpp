#pragma once
// What a client subscribes to: how history joins the live events, and which event is whose.

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

namespace backplane::client {

/// A place in each stream that was read.
class ReadPositions {
 public:
  /// What has been read up to here is behind it; a place only goes on.
  void advance(std::uint64_t stream, std::uint64_t position) {
    if (!positions_.empty() && positions_.front().stream == stream) [[likely]] {
      if (positions_.front().position < position) positions_.front().position = position;
      return;
    }
    advance_other({stream, position});
  }
  void replace(std::uint64_t old_stream, const StreamPosition& place);
  [[nodiscard]] std::optional<std::uint64_t> of(std::uint64_t stream) const;
  [[nodiscard]] const std::vector<StreamPosition>& all() const noexcept { return positions_; }

 private:
  void advance_other(const StreamPosition& place);
  std::vector<StreamPosition> positions_;
};

struct SubscriptionGroup;

/// One pattern of a subscription. Owned by Subscriptions; until the queue is empty it outlives its
/// subscription.
struct PatternSubscription {
  enum class State : std::uint8_t {
    pending,    ///< not in force yet
    retained,   ///< last values are asked for, live events are held
    replaying,  ///< the same for history
    live,
  };
  /// A live event, or a gap among them, that came while history is read.
  struct Buffered {
    std::string topic;
    std::string event;
    wire::Stamp stamp;
    bool late{};
    std::optional<Client::Gap> gap;
  };

  explicit PatternSubscription(Pattern wanted) : pattern(std::move(wanted)) {}

  std::uint64_t number{};  ///< never given twice
  SubscriptionGroup* group{};
  Pattern pattern;
  State state{State::pending};
  bool ended{};
  std::uint64_t ticket{};
  std::uint64_t request{};  ///< of history; 0: none
  std::deque<Buffered> join_buffer;
  std::size_t join_buffer_bytes{};
  std::optional<StreamPosition> discarded;  ///< the last one that was held no longer
  StreamPosition joined;                    ///< up to here it came from history
  // As it has been given:
  ReadPositions read;
  bool delivered_live{};
};

/// One subscribe(). Owned by Subscriptions, as its subscriptions.
struct SubscriptionGroup {
  /// Of a topic that gave something within the last `every`.
  struct Throttled {
    PatternSubscription* subscription{};
    std::string topic;
    std::optional<std::string> event;  ///< that came since
    wire::Stamp stamp;
    bool from_history{};
    bool late{};
  };
  using Clock = std::chrono::steady_clock;

  Client::Subscription id{};
  SubscribeOptions options;
  ReplayFrom from;  ///< where options has a since
  bool since{};
  std::vector<std::unique_ptr<PatternSubscription>> subscriptions;
  std::size_t waiting{};  ///< subscriptions that are not in force yet
  std::unordered_map<std::string, Throttled, StringHash, std::equal_to<>> throttled;
  std::deque<std::pair<Clock::time_point, std::string>> throttle_deadlines;
};

/// The subscriptions of one client. Lives on the client's thread, is told by its follower, and fills its
/// queue; does no I/O of its own.
class Subscriptions final : public ReaderListener {
 public:
  using Clock = std::chrono::steady_clock;

  /// `queue` outlives it. `join_bytes_max`: of live events that are held, for each subscription.
  Subscriptions(ItemQueue& queue, std::size_t join_bytes_max);
  ~Subscriptions() override;

  /// To be called once, before all else. `broker` outlives this.
  void attach(BrokerReader& broker) noexcept { broker_ = &broker; }

  /// Throws std::invalid_argument as Client::subscribe() says.
  Client::Subscription subscribe(const std::vector<std::string>& patterns, const SubscribeOptions& options);
  void unsubscribe(Client::Subscription id);

  /// What time brings (`every`), and what waited for the queue to be empty. Call it with each turn.
  /// @returns how much was done.
  std::size_t tick(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_deadline() const;

  /// An item of the queue was given: keeps the account of how far the reading has come.
  void on_delivered(const ItemQueue::Record& record);
  /// As Client::resume_token() says.
  [[nodiscard]] std::vector<StreamPosition> read_positions() const;
  [[nodiscard]] std::uint64_t conflated() const noexcept { return conflated_; }

  void on_event(const Delivery& delivery) override;
  void on_live(std::uint64_t ticket) override;
  void on_connection(bool up) override;
  void on_retained(std::uint64_t request, const Delivery& delivery) override;
  void on_retained_end(std::uint64_t request, const RetainedEnd& end) override;
  void on_replayed(std::uint64_t request, const Delivery& delivery) override;
  void on_replay_slice(std::uint64_t request, const ReplaySlice& slice) override;
  void on_gap(const Gap& gap) override;
  void on_reset(const Reset& reset) override;

 private:
  struct Match {
    PatternSubscription* subscription{};
    std::uint64_t number{};  // of the subscription, which may be gone
    std::uint64_t stream{};  // offsets up to here came from history
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
  void join(PatternSubscription& subscription, const StreamPosition& through);
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
  Clock::time_point now_{};

  std::map<std::uint64_t, std::unique_ptr<SubscriptionGroup>> groups_;
  std::vector<std::unique_ptr<SubscriptionGroup>> ended_;  // the queue may speak of them
  std::vector<SubscriptionGroup*> throttled_groups_;
  std::uint64_t last_group_{};
  std::uint64_t last_pattern_{};

  std::unordered_map<std::string, std::vector<PatternSubscription*>, StringHash, std::equal_to<>> exact_;
  std::vector<PatternSubscription*> wildcards_;
  Topics topics_;
  Topics::value_type* recent_{};
  std::uint64_t generation_{1};

  std::deque<PatternSubscription*> pending_;                // in the order of tickets
  std::map<std::uint64_t, PatternSubscription*> requests_;  // history that is being read
  std::vector<std::uint64_t> replays_to_continue_;          // when the queue is empty
  std::uint64_t broker_stream_{};                           // stream of the broker that was there last
  std::optional<Reset> reported_reset_;
  std::uint64_t conflated_{};
  ReadPositions live_read_;  // as it has been given
};

}  // namespace backplane::client
