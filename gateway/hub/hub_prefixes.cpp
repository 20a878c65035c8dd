// ZeroMQ clients: subscriptions to byte prefixes, their gaps, and the replies to `$SYS.live.<nonce>`.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {
namespace {

constexpr std::string_view too_many_subscriptions = "too_many_subscriptions";
// Subscriptions to `$SYS.live.<nonce>` of one client that wait for the broker.
constexpr std::size_t live_requests_max = 1000;

/// Whether the broker may have topics that begin so.
bool is_upstream(std::string_view prefix) noexcept {
  return prefix.size() <= topic_bytes_max && !prefix.starts_with(gap_topic_prefix);
}

/// Whether `holds(subscription)` for a subscription to a prefix of `text` that has at least `from` bytes. A
/// client may have very many subscriptions; a text has few prefixes.
template <class Subscriptions, class Holds>
bool any_prefix_of(const Subscriptions& subscriptions, std::string_view text, std::size_t from, Holds holds) {
  for (std::size_t size = from; size <= text.size(); ++size) {
    const auto found = subscriptions.find(text.substr(0, size));
    if (found != subscriptions.end() && holds(found->second)) return true;
  }
  return false;
}

/// The shortest prefix that a subscription to the topic can have.
std::size_t shortest_prefix(std::string_view topic) noexcept {
  return is_system_topic(topic) ? 1 : 0;
}

}  // namespace

/// As a socket of libzmq keeps subscriptions: each prefix once, however often it is subscribed to. Nothing is
/// refused: what the client's user may not read is left out. Events arrive from the moment on at which the
/// broker has the subscription.
void Hub::execute(Client& client, request::Prefix& request, Clock::time_point) {
  if (!client.prefixes) client.prefixes = std::make_unique<Prefixes>();
  auto& subscriptions = client.prefixes->subscriptions;
  const bool known = subscriptions.contains(request.prefix);
  if (!request.subscribe) {
    if (known) end_prefix(client, request.prefix, /*left=*/false);
    return;
  }
  if (known) return;
  if (client.subscriptions.size() + subscriptions.size() >= limits_.subscriptions_per_client_max ||
      counters_.subscriptions >= limits_.subscriptions_max) {
    ++counters_.refused;
    return notify(client, [](Subscriber& subscriber) { subscriber.say_goodbye(too_many_subscriptions); });
  }
  SubscribedPrefix* subscribed = routes_.prefixes().find(request.prefix);
  if (subscribed == nullptr) {
    const std::uint64_t ticket = is_upstream(request.prefix) ? upstream_.add(request.prefix) : 0;
    subscribed = &routes_.prefixes().add(request.prefix, ticket);
  }
  ++subscribed->subscriptions;
  ++counters_.subscriptions;
  client.last_ticket = std::max(client.last_ticket, subscribed->ticket);
  PrefixAudience& audience =
      routes_.add_prefix_member(*subscribed, client.access ? client.access->view : nullptr);
  outlet_.join(client.id, audience.id);
  if (asks_for_gaps(request.prefix)) {
    ++client.prefixes->gap_prefixes;
    gap_clients_.insert(client.id);
  }
  subscriptions.emplace(std::move(request.prefix), PrefixSubscription{&audience, serial_, position_});
}

/// @param left the engine has removed the client from the audience already
void Hub::end_prefix(Client& client, const std::string& prefix, bool left) {
  const auto found = client.prefixes->subscriptions.find(prefix);
  PrefixAudience& audience = *found->second.audience;
  SubscribedPrefix& subscribed = *audience.prefix;
  if (!left) outlet_.leave(client.id, audience.id);
  routes_.remove_prefix_member(audience);
  --counters_.subscriptions;
  if (asks_for_gaps(prefix) && --client.prefixes->gap_prefixes == 0) gap_clients_.erase(client.id);
  client.prefixes->subscriptions.erase(found);
  if (--subscribed.subscriptions > 0) return;
  if (is_upstream(subscribed.prefix)) upstream_.remove(subscribed.prefix);
  routes_.prefixes().remove(subscribed);
}

void Hub::end_prefixes(Client& client, bool left) {
  if (!client.prefixes) return;
  for (const auto& [ticket, topic] : client.prefixes->live) awaiting_live_.erase({ticket, client.id});
  auto& subscriptions = client.prefixes->subscriptions;
  while (!subscriptions.empty()) end_prefix(client, std::string(subscriptions.begin()->first), left);
  client.prefixes.reset();
}

/// The client's user has other rights: its prefixes now show these.
void Hub::change_prefix_audiences(Client& client) {
  if (!client.prefixes) return;
  for (auto& [prefix, subscription] : client.prefixes->subscriptions) {
    PrefixAudience& before = *subscription.audience;
    if (before.view == client.access->view) continue;
    subscription.audience = &routes_.add_prefix_member(*before.prefix, client.access->view);
    outlet_.join(client.id, subscription.audience->id);
    outlet_.leave(client.id, before.id);
    routes_.remove_prefix_member(before);
  }
}

/// Whether the last event of the topic has been sent to the client by a prefix.
bool Hub::has_arrived_by_prefix(const Client& client, const RoutedTopic& topic) {
  if (!client.prefixes) return false;
  return any_prefix_of(client.prefixes->subscriptions, *topic.name, shortest_prefix(*topic.name),
                       [&](const PrefixSubscription& each) { return each.joined_serial < topic.serial; });
}

// ---- $SYS.live.<nonce> ----

void Hub::execute(Client& client, request::Live& request, Clock::time_point) {
  if (connected_ && client.last_ticket <= live_ticket_) return send_live_event(client, request.topic);
  if (!client.prefixes) client.prefixes = std::make_unique<Prefixes>();
  if (client.prefixes->live.size() >= live_requests_max) {
    ++counters_.refused;
    return notify(client, [](Subscriber& subscriber) { subscriber.say_goodbye(too_many_subscriptions); });
  }
  client.prefixes->live.emplace_back(client.last_ticket, std::move(request.topic));
  awaiting_live_.emplace(client.last_ticket, client.id);
}

void Hub::confirm_live_requests() {
  while (connected_ && !awaiting_live_.empty() && awaiting_live_.begin()->first <= live_ticket_) {
    const auto [ticket, id] = *awaiting_live_.begin();
    awaiting_live_.erase(awaiting_live_.begin());
    Client& client = clients_.at(id);
    auto& live = client.prefixes->live;
    for (; !live.empty() && live.front().first <= ticket; live.pop_front())
      send_live_event(client, live.front().second);
  }
}

/// One event for each stream: with several brokers, reading begins at a position of each.
void Hub::send_live_event(const Client& client, std::string_view topic) {
  std::string text;
  const StreamPositions positions = reached().all();
  for (const StreamPosition& each : positions) append_live_event(topic, each.stream, each.position, text);
  if (positions.empty()) append_live_event(topic, 0, 0, text);
  send(client, std::make_shared<const std::string>(std::move(text)), /*notify_when_drained=*/false);
}

// ---- gaps ----

/// Whether the client gets the events of the topic, and did before the position.
bool Hub::is_concerned(const Client& client, std::string_view topic, const EnginePosition& position) {
  const auto began_before = [&](const EnginePosition& start) {
    return position.position == 0 || !start.covers(position);
  };
  const auto& prefixes = client.prefixes->subscriptions;
  const std::size_t wildcard = topic.find_first_of("*>");
  bool by_prefix = any_prefix_of(prefixes, topic.substr(0, wildcard), shortest_prefix(topic),
                                 [&](const PrefixSubscription& each) { return began_before(each.start); });
  if (wildcard != std::string_view::npos) {
    // The topic of a gap may be a pattern. Then, what it may match counts, too.
    const std::string_view literal = topic.substr(0, wildcard);
    for (auto each = prefixes.lower_bound(literal);
         !by_prefix && each != prefixes.end() && each->first.starts_with(literal); ++each) {
      by_prefix = began_before(each->second.start);
    }
  }
  if (by_prefix) return true;
  bool by_pattern = false;
  routes_.for_each_match(topic, [&](const SubscribedPattern& pattern) {
    const auto found = client.subscriptions.find(pattern.pattern.str());
    if (found == client.subscriptions.end() || found->second.audience == nullptr) return;
    by_pattern = by_pattern || began_before(found->second.start);
  });
  return by_pattern;
}

/// Gaps that happened on the way to the gateway, for those who ask for them: few clients do, and few gaps are
/// there.
void Hub::announce_to_zmtp(const Notice& notice, const EnginePosition& position) {
  if (notice.kind != Notice::Kind::gap) return;
  if (gap_clients_.empty()) return;
  const std::string gap_topic = std::string(gap_topic_prefix).append(notice.topic);
  SharedText text;
  for (const fanout::ClientId id : gap_clients_) {
    const Client& client = clients_.at(id);
    const bool asks = any_prefix_of(client.prefixes->subscriptions, gap_topic, shortest_prefix(gap_topic),
                                    [](const PrefixSubscription&) { return true; });
    if (!asks || !client.may_read(notice.topic) || !is_concerned(client, notice.topic, position)) continue;
    if (!text) {
      ++counters_.notices;
      std::string bytes;
      append_notice(Format::zmtp, notice, bytes);
      text = std::make_shared<const std::string>(std::move(bytes));
    }
    send(client, text, /*notify_when_drained=*/false);
  }
}

}  // namespace backplane::gateway
