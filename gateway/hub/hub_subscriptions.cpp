// Subscriptions: started when the broker has activated them, confirmed or refused, ended.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {

bool Hub::subscribe(Client& client, const Pattern& pattern, const PatternOptions& options, bool with_reply) {
  if (auto refused = check_read(client, Action::subscribe, pattern)) {
    ++counters_.refused;
    if (!with_reply) return false;
    notify(client, [pattern = pattern.str(), refused = *std::move(refused)](Subscriber& subscriber) {
      subscriber.on_refused(pattern, refused.code, refused.text);
    });
    return false;
  }
  auto known = client.subscriptions.find(pattern.str());
  if (known == client.subscriptions.end()) {
    const bool too_many = client.subscriptions.size() >= limits_.subscriptions_per_client_max;
    if (too_many || counters_.subscriptions >= limits_.subscriptions_max) {
      ++counters_.refused;
      if (!with_reply) return false;
      std::string text =
          too_many
              ? fmt::format("limit of {} subscriptions reached", limits_.subscriptions_per_client_max)
              : fmt::format("limit of {} subscriptions of all clients reached", limits_.subscriptions_max);
      notify(client, [refused = pattern.str(), text = std::move(text)](Subscriber& subscriber) {
        subscriber.on_refused(refused, "too_many_subscriptions", text);
      });
      return false;
    }
    if (client.subscriptions.empty())
      notify(client, [](Subscriber& subscriber) { subscriber.on_subscriptions(true); });
    SubscribedPattern* subscribed = routes_.find(pattern.str());
    if (subscribed == nullptr) subscribed = &routes_.add(pattern, upstream_.add(pattern.literal_prefix()));
    ++subscribed->subscriptions;
    known = client.subscriptions.try_emplace(subscribed->pattern.str()).first;
    known->second.client = &client;
    known->second.pattern = subscribed;
    known->second.filtered = audience_view(known->second) != nullptr;
    ++counters_.subscriptions;
  }
  Subscription& subscription = known->second;
  client.last_ticket = std::max(client.last_ticket, subscription.pattern->ticket);
  if (with_reply) ++subscription.pending_replies;
  // Replaces what was requested before and has not been sent.
  end_backfill(subscription);
  const bool other_interval = subscription.every != options.every;
  if (!subscription.active || options.since || other_interval) {
    leave_audience(subscription, /*left=*/false);
    // With another interval, it goes on without a pause.
    if (subscription.active && !options.since) {
      subscription.set_options(options);
      join_audience(subscription, /*buffered=*/false);
    }
  }
  subscription.set_options(options);
  if (options.since) subscription.active = false;
  if (connected_ && subscription.pattern->ticket <= live_ticket_) {
    start(subscription);
  } else {
    inactive_.emplace(subscription.pattern->ticket, &subscription);
  }
  return true;
}

bool Hub::awaits_subscription(fanout::ClientId id, std::uint64_t& ticket) const {
  constexpr std::uint64_t unknown = ~std::uint64_t{0};
  const auto found = clients_.find(id);
  if (found == clients_.end()) return false;
  const Client& client = found->second;
  const bool authenticating = client.access && client.access->authenticating;
  if (authenticating || !client.deferred.empty()) {  // there may be a SUB among them
    ticket = unknown;
    return true;
  }
  if (ticket == 0 || ticket == unknown) ticket = client.last_ticket;
  return ticket > live_ticket_;
}

void Hub::start_active() {
  while (connected_ && !inactive_.empty() && inactive_.begin()->first <= live_ticket_) {
    Subscription& subscription = *inactive_.begin()->second;
    inactive_.erase(inactive_.begin());
    start(subscription);
  }
}

void Hub::start(Subscription& subscription) {
  if (subscription.since) return start_replay(subscription);
  if (subscription.last) return start_values(subscription);
  if (!subscription.active) {
    if (subscription.audience == nullptr) join_audience(subscription, /*buffered=*/false);
    note_joined(*subscription.client, reached().all());
    subscription.active = true;
  }
  confirm(subscription);
}

void Hub::confirm(Subscription& subscription) {
  const std::size_t count = std::exchange(subscription.pending_replies, 0u);
  if (count == 0) return;
  notify(*subscription.client,
         [pattern = subscription.pattern->pattern.str(), count](Subscriber& subscriber) {
           for (std::size_t i = 0; i < count; ++i) subscriber.on_subscribed(pattern);
         });
}

void Hub::refuse(Subscription& subscription, std::string_view code, std::string text) {
  ++counters_.refused;
  const Client& client = *subscription.client;
  const std::size_t count = std::exchange(subscription.pending_replies, 0u);
  const std::string pattern = subscription.pattern->pattern.str();
  if (subscription.active) {
    end_backfill(subscription);  // it was active before, and stays active
    subscription.last = false;
    subscription.since.reset();
  } else {
    end(subscription);
  }
  notify(client, [pattern, code, text = std::move(text), count](Subscriber& subscriber) {
    for (std::size_t i = 0; i < count; ++i) subscriber.on_refused(pattern, code, text);
  });
}

void Hub::end(Subscription& subscription) {
  Client& client = *subscription.client;
  SubscribedPattern& pattern = *subscription.pattern;
  inactive_.erase({pattern.ticket, &subscription});
  end_backfill(subscription);
  leave_audience(subscription, /*left=*/false);
  // In this order: the key is a view of the pattern's text.
  client.subscriptions.erase(pattern.pattern.str());
  --counters_.subscriptions;
  if (--pattern.subscriptions == 0) {
    retained_.drop(pattern);
    upstream_.remove(pattern.pattern.literal_prefix());
    routes_.remove(pattern);
  }
  if (client.subscriptions.empty())
    notify(client, [](Subscriber& subscriber) { subscriber.on_subscriptions(false); });
}

// ---- positions ----

/// Up to these positions, events have been appended to the engine, or are of interest to no new subscription.
/// Events in the reorder buffer have not been appended, and may be below the position at which reading began:
/// then only the last event appended shows how far reading has come.
ReadPositions Hub::reached() const {
  ReadPositions reached = read_;
  if (!broker_->is_recovering()) {
    for (const StreamPosition& each : broker_->live_positions()) reached.advance(each.stream, each.position);
  }
  return reached;
}

/// A subscription of the client joined the live events. A stream that appears only after the client's first
/// subscription is complete up to its low watermark only.
void Hub::note_joined(Client& client, const StreamPositions& at) {
  if (!client.joined) {
    client.joined = std::make_unique<StreamPositions>(at);
    return;
  }
  for (StreamPosition& each : *client.joined) {
    each.position = std::min(each.position, position_in(at, each.stream).value_or(each.position));
  }
}

/// Up to these positions, the client has received everything: up to where its subscriptions joined, and up to
/// the low watermark, below which nothing can arrive any more, not even late. Unless the positions are to be
/// verified, also up to the last event.
StreamPositions Hub::complete_positions(const Client& client, bool verified) const {
  const StreamPositions low = broker_->low_watermarks();
  const StreamPositions live = broker_->live_positions();
  ReadPositions complete = verified ? ReadPositions{} : read_;
  for (const StreamPosition& each : low) {
    if (each.position > 0) complete.advance(each.stream, each.position);
  }
  if (!client.joined) return complete.all();
  for (const StreamPosition& each : *client.joined) {
    const bool current = position_in(low, each.stream) || position_in(live, each.stream) ||
                         position_in(read_.all(), each.stream);
    if (current) complete.advance(each.stream, each.position);
  }
  return complete.all();
}

// ---- audiences ----

void Hub::join_audience(Subscription& subscription, bool buffered) {
  const Client& client = *subscription.client;
  const std::chrono::milliseconds every = subscription.every;
  const ReadViewPtr view = audience_view(subscription);
  Audience& audience =
      routes_.add_member(*subscription.pattern, client.format, every, /*notices=*/false, view);
  subscription.audience = &audience;
  subscription.joined_serial = serial_;
  // After a change of format or interval, the subscription keeps its start.
  set_start(subscription, subscription.active ? subscription.start : position_);
  if (buffered) {
    outlet_.join_buffered(client.id, audience.id);
  } else {
    outlet_.join(client.id, audience.id);
  }
  if (every.count() == 0) return;
  outlet_.join(client.id,
               routes_.add_member(*subscription.pattern, client.format, every, /*notices=*/true, view).id);
}

void Hub::leave_audience(Subscription& subscription, bool left) {
  if (subscription.audience == nullptr) return;
  const auto leave = [&](Audience& audience) {
    if (!left) outlet_.leave(subscription.client->id, audience.id);
    routes_.remove_member(audience);
  };
  Audience& audience = *std::exchange(subscription.audience, nullptr);
  if (audience.every.count() > 0) leave(TopicRoutes::notice_audience(audience));
  leave(audience);
}

void Hub::set_start(Subscription& subscription, const EnginePosition& start) {
  subscription.start = start;
  TopicRoutes::set_start(*subscription.pattern, start);
}

}  // namespace backplane::gateway
