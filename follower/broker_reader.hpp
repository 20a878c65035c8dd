#pragma once
// Reading from one or several brokers: the interface that clients and the gateway use.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "follower/control/broker_info.hpp"
#include "follower/control/replay_slice.hpp"
#include "follower/control/retained_requests.hpp"
#include "follower/order/delivery.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane {

/// Receives what a BrokerReader reads. Every method is called on the reader's thread, and may call the
/// reader's methods.
class ReaderListener {
 public:
  virtual ~ReaderListener() = default;

  /// An event whose topic begins with a subscribed prefix. Patterns are filtered exactly by the listener.
  virtual void on_event(const Delivery& delivery) = 0;
  /// Every subscription up to `ticket` is active at every broker that is connected.
  virtual void on_live(std::uint64_t ticket) = 0;
  /// No broker is connected any more (`false`), or one is, with all subscriptions active (`true`). Initially
  /// none is. on_live() for the tickets that waited follows right after `true`.
  virtual void on_connection(bool up) = 0;

  /// A broker does not accept the connection because of its keys; `problem` says so on one line with the
  /// endpoint. Called again only if that changes, or if it is so after a connection.
  virtual void on_key_problem(const std::string& /*problem*/) {}

  /// The last value of one topic that matches the pattern of a retained() request.
  virtual void on_retained(std::uint64_t request, const Delivery& delivery) = 0;
  /// Ends a retained() request. Called once for each, unless it is cancelled.
  virtual void on_retained_end(std::uint64_t request, const RetainedEnd& end) = 0;

  /// One event of a replay() request, in position order within its stream. After some hundred events,
  /// on_replay_slice() is called, and nothing more comes until replay_more() or cancel().
  virtual void on_replayed(std::uint64_t /*request*/, const Delivery& /*delivery*/) {}
  /// Events of a replay() request that the broker can no longer read, in their place among the topic's
  /// events.
  virtual void on_replayed_gap(std::uint64_t /*request*/, const Gap& /*gap*/) {}
  /// Ends a slice. After a complete slice the request stays open until cancel(): replay_more() returns what
  /// has been published since. A slice with an error ends the request.
  virtual void on_replay_slice(std::uint64_t /*request*/, const ReplaySlice& /*slice*/) {}

  /// Events of a subscribed prefix that will never arrive, in their place among the topic's events.
  virtual void on_gap(const Gap& /*gap*/) {}
  /// A broker restarted without its state. Called before the first event of the new stream.
  virtual void on_reset(const Reset& /*reset*/) {}
};

/// Reads events, retained values and history. A Follower reads from one broker over ZeroMQ, a BrokerGroup
/// from every broker of a list; tests use a fake. Every method is called on one thread and returns at once;
/// results reach the ReaderListener.
class BrokerReader {
 public:
  virtual ~BrokerReader() = default;

  /// Subscribes to every topic that begins with `prefix`. Calls are counted: the subscription
  /// ends with as many calls of unsubscribe().
  /// @returns a ticket: on_live() with this ticket or a later one reports the subscription active.
  virtual std::uint64_t subscribe(std::string_view prefix) = 0;
  /// Reverts one subscribe() of the same prefix. Does nothing if there is none.
  virtual void unsubscribe(std::string_view prefix) = 0;

  /// Requests the retained values of all topics that match `pattern`. Without a broker, the request waits.
  /// @returns the request's number. on_retained_end() follows once, with an error if the broker refuses or
  ///          does not reply in time.
  virtual std::uint64_t retained(std::string_view pattern) = 0;

  /// Requests history. Without a broker, the request waits. To continue with live events without a hole:
  /// subscribe first, wait for on_live(), and join at a slice that is complete.
  /// @returns the request's number, from the same sequence as retained()'s. on_replayed() and
  ///          on_replay_slice() follow.
  virtual std::uint64_t replay(std::string_view pattern, const ReplayFrom& from) = 0;
  /// Requests the next slice of a replay after the last one has arrived. The caller sets the pace.
  virtual void replay_more(std::uint64_t request) = 0;
  /// Ends a retained() or replay() request: nothing more is reported of it. Does nothing if it has
  /// already ended.
  virtual void cancel(std::uint64_t request) = 0;

  /// Requests one page of the broker's topics that match, from `cursor` ("": from the first). `handler` is
  /// called once, with the page, or with the broker's refusal or a timeout. Without a broker, it waits.
  virtual void topics(std::string_view pattern, std::string_view cursor,
                      std::function<void(Result<TopicsPage>)> handler) = 0;
  /// Requests the definitions of message types; `handler` as for topics().
  virtual void types(const std::vector<std::string>& names,
                     std::function<void(Result<TypesReply>)> handler) = 0;

  /// For each broker that is read, its stream and the position of its newest live reply, at which reading of
  /// the newest subscriptions began. Empty before the first live reply.
  [[nodiscard]] virtual StreamPositions live_positions() const = 0;
  /// Whether events wait in the reorder buffer for missing ones. If so, events at or below live_positions()
  /// may still arrive.
  [[nodiscard]] virtual bool is_recovering() const = 0;
  /// For each stream that is read, the position at or below which no event or gap can arrive any more,
  /// however late. It is found by requesting tails, and is a second or two behind. A new subscription may
  /// lower it.
  [[nodiscard]] virtual StreamPositions low_watermarks() const = 0;
  /// Whether an event of a subscribed topic may still arrive, or be reported as a gap. False for events that
  /// have arrived, and for those that were published before the topic was subscribed to. Events at or below
  /// low_watermarks() never arrive, but these are behind; this is exact.
  [[nodiscard]] virtual bool may_arrive(std::string_view topic, const wire::Stamp& stamp) const = 0;
  /// Index of the first connected broker, or of one that is tried, in the list that the reader was given.
  [[nodiscard]] virtual std::size_t broker() const = 0;
};

}  // namespace backplane
