#pragma once
// Which reader gets which event.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "clients/lib/follower.hpp"
#include "core/topic/pattern.hpp"
#include "gateway/encode/encoder.hpp"
#include "gateway/event_line.hpp"
#include "gateway/notice.hpp"
#include "gateway/pattern_trie.hpp"

namespace backplane::gateway {

/// The reading half of the broker, as a Follower has it. Called on the hub's thread; must not block.
class Upstream {
 public:
  virtual ~Upstream() = default;
  virtual std::uint64_t subscribe(std::string_view prefix) = 0;
  virtual void unsubscribe(std::string_view prefix) = 0;
  virtual std::uint64_t retained(std::string_view pattern) = 0;
};

/// Whoever reads through a hub: one client of a protocol. Called on the hub's thread; may subscribe and
/// unsubscribe in these calls only where that is said.
class Subscriber {
 public:
  virtual ~Subscriber() = default;
  [[nodiscard]] virtual Format format() const = 0;
  virtual void on_event(EventLinePtr line) = 0;
  virtual void on_notice(const Notice& notice) = 0;
  /// A subscribe() is in force; the events follow. Once for each that was accepted.
  virtual void on_subscribed(std::string_view pattern) = 0;
  /// Or it is not to be, for a reason: a word for programs and a text for people.
  virtual void on_refused(std::string_view pattern, std::string_view code, std::string_view text) = 0;
  /// The broker is away, or back with all subscriptions in force. Only where something is subscribed to.
  virtual void on_broker(bool up) = 0;
};

struct HubLimits {
  std::size_t subscriptions_per_reader_max = 100'000;
  std::size_t join_bytes_max = 8u << 20;  ///< retained values and held events of one SUB … last
  /// How long the first connection to a broker may take before anybody is told to wait.
  std::chrono::milliseconds first_wait{1000};
};

struct HubCounters {
  std::uint64_t events{};     ///< from the broker
  std::uint64_t unmatched{};  ///< of these, wanted by nobody: a prefix says more than a pattern
  std::uint64_t undecodable{};
  std::uint64_t duplicates{};     ///< of these, seen before: given to nobody
  std::uint64_t subscriptions{};  ///< now
};

/// The readers of one backplane, their subscriptions, and what comes for them. Lives on one thread; owns
/// the subscriptions; encodes each event once a format. A reader gets an event once, however many of its
/// patterns match it.
class Hub final : public FollowerListener {
 public:
  using Clock = std::chrono::steady_clock;
  class Reader;

  /// `upstream` outlives the hub; it is not called before the first subscribe().
  Hub(HubLimits limits, Upstream& upstream, Clock::time_point now);
  ~Hub() override;

  /// `subscriber` must outlive the reader, which lives until remove().
  Reader& add(Subscriber& subscriber);
  void remove(Reader& reader);

  /// Subscribes; on_subscribed() or on_refused() follows, now or later. A pattern that is subscribed to
  /// already stays so, and is answered again.
  /// @param last whether the retained values are to come first
  void subscribe(Reader& reader, const Pattern& pattern, bool last, Clock::time_point now);
  /// @returns whether it was subscribed to. Subscribes that wait are answered with on_refused().
  bool unsubscribe(Reader& reader, std::string_view pattern);
  [[nodiscard]] static std::size_t subscriptions(const Reader& reader);
  /// Answers all subscribes that wait with on_refused(), and takes them back.
  void cancel_waiting(Reader& reader, std::string_view why);

  void on_event(const Delivery& delivery) override;
  void on_live(std::uint64_t ticket) override;
  void on_connection(bool up) override;
  void on_retained(std::uint64_t request, const Delivery& delivery) override;
  void on_retained_end(std::uint64_t request, const std::optional<Error>& error) override;
  void on_gap(const Gap& gap) override;
  void on_reset(const Reset& reset) override;

  /// After each turn of the follower, and at next_deadline().
  void tick(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_deadline() const;

  [[nodiscard]] const HubCounters& counters() const noexcept { return counters_; }

 private:
  struct Join;
  struct Subscription;
  struct Interest;
  struct TopicState;

  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  template <class T>
  using ByName = std::unordered_map<std::string, T, Hash, std::equal_to<>>;
  using Lines = std::array<EventLinePtr, format_count>;

  Interest& interest_in(const Pattern& pattern);
  void drop(Subscription& subscription);
  void proven();
  void activate(Subscription& subscription);
  void answer(Subscription& subscription);
  void refuse(Subscription& subscription, std::string_view code, std::string_view text);
  void end_join(Subscription& subscription);
  void tell_waiting(Reader& reader, Clock::time_point now);

  void find_hits(std::string_view topic);
  void follow_topic(const Delivery& delivery);
  [[nodiscard]] bool is_duplicate(const Delivery& delivery) const;
  void tell_hits(const Notice& notice, std::optional<std::uint64_t> seen_at);
  void deliver_hits(const Delivery& delivery);
  void deliver(Reader& reader, const EventLinePtr& line);
  void settle(const Delivery& delivery);
  static Notice undecodable(const Delivery& delivery);
  EventLinePtr encode(Format format, const Delivery& delivery);
  /// The line of `delivery` in one format; nullptr where it is not decodable.
  const EventLinePtr& line(Lines& lines, Format format, const Delivery& delivery);

  HubLimits limits_;
  Upstream& upstream_;
  Encoder encoder_;
  HubCounters counters_;

  std::unordered_map<Reader*, std::unique_ptr<Reader>> readers_;
  ByName<std::unique_ptr<Interest>> interests_;                // by pattern
  PatternTrie<Interest*> wildcards_;                           // those of them that have any
  std::set<std::pair<std::uint64_t, Subscription*>> waiting_;  // by ticket
  std::unordered_map<std::uint64_t, Subscription*> joins_;     // by the follower's request
  ByName<TopicState> topics_;
  std::vector<Reader*> settling_;

  bool connected_{};
  bool announce_live_{};
  bool wait_due_{true};          // readers are yet to be told that there is no broker
  Clock::time_point wait_from_;  // and this is from when on
  std::uint64_t live_ticket_{};
  std::uint64_t serial_{};  // of the event under way, or the last
  std::uint64_t notice_serial_{};
  std::vector<Subscription*> hits_;  // of the event under way
};

}  // namespace backplane::gateway
