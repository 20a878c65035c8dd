#pragma once
// What a Hub keeps of clients and subscriptions. Included by hub*.cpp only.

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/hub/hub.hpp"
#include "gateway/session/subscriber.hpp"

namespace backplane::gateway {

/// What a subscription receives before its live events, while that has not all been sent.
struct Hub::Backfill {
  enum class Kind : std::uint8_t { values, replay };
  Kind kind{Kind::values};
  bool buffered{};  ///< live events wait in a join buffer meanwhile
  bool started{};   ///< part of it has been sent
  // Retained values.
  std::string after;                   ///< the last topic that was sent
  std::shared_ptr<fanout::Skip> skip;  ///< what was sent
  // History.
  std::uint64_t request{};
  std::string text;             ///< of the current slice
  std::uint64_t next_offset{};  ///< of an exact topic, if known
  bool caught_up{};             ///< the last slice was complete
  bool requested_buffered{};    ///< live events were in the join buffer when the current slice was requested
  /// One position for each stream, of the last event or complete slice.
  std::vector<EnginePosition> through;
  // In sse.
  bool has_ids{};                           ///< its events have ids,
  ReadPositions ids;                        ///< which name these positions
  std::vector<const Subscription*> others;  ///< active ones that overlap: their events are left out

  void advance(const EnginePosition& to) {
    for (EnginePosition& each : through) {
      if (each.stream == to.stream) return each.advance(to);
    }
    through.push_back(to);
  }
};

/// One pattern of one client. There may be millions of them: rare state is behind a pointer.
struct Hub::Subscription {
  Client* client{};
  SubscribedPattern* pattern{};
  std::chrono::milliseconds every{0};       ///< PatternOptions::every
  std::unique_ptr<const ReplayFrom> since;  ///< PatternOptions::since, until that has been sent
  std::unique_ptr<Backfill> backfill;
  Audience* audience{};             ///< nullptr: events are not sent yet
  std::uint64_t joined_serial{};    ///< serial of the last event before it joined its audience
  EnginePosition start;             ///< losses up to here do not concern it
  std::uint32_t pending_replies{};  ///< subscribes that wait for their reply
  bool last{};                      ///< PatternOptions::last
  bool again{};                     ///< PatternOptions::again
  bool active{};                    ///< events are sent as they arrive
  bool filtered{};                  ///< its user may not read all topics of the pattern

  void set_options(const PatternOptions& options) {
    every = options.every;
    last = options.last;
    again = options.again;
    since = options.since ? std::make_unique<const ReplayFrom>(*options.since) : nullptr;
  }
};

/// Who a client is. Only if the gateway has a policy.
struct Hub::Access {
  Identity identity;
  const policy::User* user{};  ///< of the current policy
  ReadViewPtr view;            ///< the user's
  PeerAddress peer;
  std::string certificate;  ///< common name of its client certificate, which TLS has verified; empty: none
  bool authenticating{};    ///< its other requests wait
};

/// One byte prefix of one ZeroMQ client.
struct Hub::PrefixSubscription {
  PrefixAudience* audience{};
  std::uint64_t joined_serial{};  ///< serial of the last event before it joined its audience
  EnginePosition start;           ///< losses up to here do not concern it
};

/// What only ZeroMQ clients have.
struct Hub::Prefixes {
  std::map<std::string, PrefixSubscription, std::less<>> subscriptions;
  std::size_t gap_prefixes{};  ///< how many of these ask for gaps
  /// Subscriptions to `$SYS.live.<nonce>` that wait for a ticket, in its order.
  std::deque<std::pair<std::uint64_t, std::string>> live;
};

struct Hub::TopicsReply {
  std::string pattern;
  std::string cursor;
  std::size_t count{};
};

/// A queue that is empty nearly always. An empty one is one pointer.
template <class Item>
class Hub::RareQueue {
 public:
  [[nodiscard]] bool empty() const noexcept { return items_ == nullptr; }
  [[nodiscard]] std::size_t size() const noexcept { return items_ ? items_->size() : 0; }
  void push_back(Item item) {
    if (!items_) items_ = std::make_unique<std::list<Item>>();
    items_->push_back(std::move(item));
  }
  // The queue is not empty.
  [[nodiscard]] Item& front() noexcept { return items_->front(); }
  void pop_front() {
    items_->pop_front();
    if (items_->empty()) items_.reset();
  }
  void remove(const Item& item) {
    if (!items_) return;
    std::erase(*items_, item);
    if (items_->empty()) items_.reset();
  }
  void clear() noexcept { items_.reset(); }

 private:
  std::unique_ptr<std::list<Item>> items_;  // nullptr, or at least one item
};

/// One client.
struct Hub::Client {
  fanout::ClientId id{};
  Format format{};
  std::uint64_t last_ticket{};        ///< of the subscriptions that it has requested
  bool wait_notified{};               ///< that there is no broker
  bool resuming{};                    ///< deferred requests are being executed
  bool leaving{};                     ///< it is being removed, or was revoked
  std::uint32_t backfills_started{};  ///< backfills that have been sent in part: the format cannot change
  /// By pattern; the keys are views of SubscribedPattern::pattern. A map, because a hash table allocates
  /// buckets even for one entry.
  std::map<std::string_view, Subscription> subscriptions;
  RareQueue<Subscription*> paused;  ///< backfills that continue when the client has read most of its replies
  /// Where its subscriptions joined the live events: for each stream, the lowest position. Up to there, it
  /// has received everything. See complete_positions().
  std::unique_ptr<StreamPositions> joined;
  std::unique_ptr<TopicsReply> topics;
  std::unique_ptr<Prefixes> prefixes;       ///< of a ZeroMQ client, from its first one on
  std::unique_ptr<const std::string> name;  ///< that it has claimed, with its user; nullptr: none
  std::unique_ptr<Access> access;           ///< nullptr: there is no policy
  RareQueue<Request> deferred;  ///< requests that wait for backfills, `topics` or a verdict to end

  [[nodiscard]] bool may_read(std::string_view topic) const noexcept {
    return access == nullptr || access->view->may_read(topic);
  }
};

template <class Call>
void Hub::notify(const Client& client, Call call) {
  outlet_.post(client.id, [call = std::move(call)](fanout::Client& of_engine) {
    call(static_cast<Subscriber&>(of_engine.handler()));
  });
}

}  // namespace backplane::gateway
