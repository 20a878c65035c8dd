// Clients and their requests.
#include "gateway/hub/hub.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/error/error.hpp"
#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {
namespace {

// Requests of one client that wait for a long reply to the same client.
constexpr std::size_t deferred_max = 100'000;

/// Whether the request waits until every backfill that has been sent in part is complete.
bool waits_for_backfills(const Request& request) {
  return std::holds_alternative<request::SetFormat>(request.what) ||
         std::holds_alternative<request::ReportPosition>(request.what);
}

}  // namespace

Hub::Hub(HubLimits limits, Outlet& outlet, TopicDirectory& directory, Clock::time_point now)
    : limits_(limits),
      outlet_(outlet),
      directory_(directory),
      upstream_(limits.prefixes_max),
      routes_(outlet, directory),
      retained_({.bytes_max = limits.values_bytes_max,
                 .idle_max = limits.values_idle,
                 .age_max = limits.values_age_max},
                routes_, encoder_),
      wait_from_(now + limits.first_wait),
      now_(now) {}

Hub::~Hub() = default;

HubCounters Hub::counters() const noexcept {
  HubCounters counters = counters_;
  counters.undecodable += retained_.undecodable();
  counters.clients = clients_.size();
  counters.topics = routes_.topics();
  return counters;
}

std::vector<fanout::ClientId> Hub::clients() const {
  std::vector<fanout::ClientId> all;
  all.reserve(clients_.size());
  for (const auto& each : clients_) all.push_back(each.first);
  return all;
}

Hub::Client* Hub::find(fanout::ClientId id) {
  const auto found = clients_.find(id);
  return found == clients_.end() ? nullptr : &found->second;
}

void Hub::add(fanout::ClientId id, Format format, PeerAddress peer) {
  Client& client = clients_[id];
  client.id = id;
  client.format = format;
  if (!permissions_) return;
  const policy::User& anonymous = permissions_->anonymous();
  client.access = std::make_unique<Access>();
  client.access->user = &anonymous;
  client.access->view = permissions_->view(anonymous);
  client.access->peer = std::move(peer);
}

void Hub::remove(fanout::ClientId id) {
  Client* const client = find(id);
  if (client == nullptr) return;
  client->leaving = true;
  release_name(*client);
  client->deferred.clear();
  for (auto& [pattern, subscription] : client->subscriptions) leave_audience(subscription, /*left=*/true);
  while (!client->subscriptions.empty()) end(client->subscriptions.begin()->second);
  end_prefixes(*client, /*left=*/true);
  clients_.erase(id);
}

void Hub::send(const Client& client, SharedText text, bool notify_when_drained) {
  outlet_.post(client.id, [text = std::move(text), notify_when_drained](fanout::Client& of_engine) {
    static_cast<Subscriber&>(of_engine.handler()).on_backfill(of_engine, *text);
    if (notify_when_drained) of_engine.notify_when_drained();
  });
}

// ---- requests ----

void Hub::handle(Request request, Clock::time_point now) {
  now_ = now;
  Client* const client = find(request.client);
  if (client == nullptr || client->leaving) return;
  const bool at_once = std::holds_alternative<request::Drained>(request.what) ||
                       std::holds_alternative<request::JoinBufferFull>(request.what) ||
                       std::holds_alternative<request::Verified>(request.what);
  const bool authenticating = client->access && client->access->authenticating;
  const bool waits = !client->deferred.empty() || client->topics || authenticating ||
                     (waits_for_backfills(request) && client->backfills_started > 0);
  if (!at_once && !client->resuming && waits) {
    if (client->deferred.size() < deferred_max) return client->deferred.push_back(std::move(request));
    return notify(*client, [](Subscriber& subscriber) { subscriber.say_goodbye("too_many_commands"); });
  }
  std::visit([&](auto& what) { execute(*client, what, now); }, request.what);
}

void Hub::resume_deferred(Client& client) {
  client.resuming = true;
  const auto authenticating = [&] { return client.access && client.access->authenticating; };
  while (!client.deferred.empty() && !client.topics && !authenticating()) {
    if (waits_for_backfills(client.deferred.front()) && client.backfills_started > 0) break;
    Request next = std::move(client.deferred.front());
    client.deferred.pop_front();
    std::visit([&](auto& what) { execute(client, what, now_); }, next.what);
  }
  client.resuming = false;
}

void Hub::execute(Client& client, request::Subscribe& request, Clock::time_point now) {
  if (subscribe(client, request.pattern, request.options, /*with_reply=*/true)) notify_waiting(client, now);
}

bool Hub::subscribe(fanout::ClientId id, const Pattern& pattern, const PatternOptions& options,
                    Clock::time_point now) {
  now_ = now;
  Client* const client = find(id);
  if (client == nullptr || !subscribe(*client, pattern, options, /*with_reply=*/false)) return false;
  notify_waiting(*client, now);
  return true;
}

void Hub::execute(Client& client, request::Unsubscribe& request, Clock::time_point) {
  const auto found = client.subscriptions.find(request.pattern);
  const bool was_subscribed = found != client.subscriptions.end();
  if (was_subscribed) {
    Subscription& subscription = found->second;
    if (subscription.pending_replies > 0) {
      subscription.active = false;
      refuse(subscription, "cancelled", "UNSUB arrived before the subscription was active");
    } else {
      end(subscription);
    }
  }
  notify(client, [pattern = std::move(request.pattern), was_subscribed](Subscriber& subscriber) {
    subscriber.on_unsubscribed(pattern, was_subscribed);
  });
}

void Hub::execute(Client& client, request::SetFormat& request, Clock::time_point) {
  const Format format = request.format;
  notify(client, [format](Subscriber& subscriber) { subscriber.on_format(format); });
  if (client.format == format) return;
  client.format = format;
  for (auto& [pattern, subscription] : client.subscriptions) {
    Audience* const before = std::exchange(subscription.audience, nullptr);
    if (before == nullptr) continue;
    // Join buffers start empty again, which loses nothing: values are served as of now, see RetainedCache.
    join_audience(subscription, /*buffered=*/subscription.backfill && subscription.backfill->buffered);
    outlet_.transfer_skips(client.id, before->id, subscription.audience->id);
    Audience* const now = std::exchange(subscription.audience, before);
    leave_audience(subscription, /*left=*/false);
    subscription.audience = now;
  }
}

void Hub::execute(Client& client, request::ReportPosition& request, Clock::time_point) {
  notify(client, [positions = complete_positions(client, request.verified)](Subscriber& subscriber) {
    subscriber.on_position(positions);
  });
}

void Hub::execute(Client& client, request::Echo& request, Clock::time_point) {
  notify(client, [reply = std::move(request.reply)](Subscriber& subscriber) { subscriber.on_echo(reply); });
}

/// Users do not share names: no user can disconnect another one's client.
void Hub::execute(Client& client, request::ClaimName& request, Clock::time_point) {
  release_name(client);
  std::string name = client.access ? client.access->user->name : std::string{};
  name.push_back('\0');
  name += request.name;
  const auto [found, added] = names_.try_emplace(name, client.id);
  if (!added) {
    if (Client* const before = find(found->second)) {
      before->name.reset();
      notify(*before, [](Subscriber& subscriber) { subscriber.say_goodbye("taken_over"); });
    }
    found->second = client.id;
  }
  client.name = std::make_unique<const std::string>(std::move(name));
  notify(client, [](Subscriber& subscriber) { subscriber.on_name_claimed(); });
}

void Hub::release_name(Client& client) {
  if (client.name) names_.erase(*client.name);
  client.name.reset();
}

void Hub::execute(Client& client, request::Quit&, Clock::time_point) {
  std::vector<Subscription*> unconfirmed;
  for (auto& [pattern, subscription] : client.subscriptions) {
    if (subscription.pending_replies > 0) unconfirmed.push_back(&subscription);
  }
  for (Subscription* const subscription : unconfirmed) {
    refuse(*subscription, "cancelled", "QUIT arrived before the subscription was active");
  }
  notify(client, [](Subscriber& subscriber) { subscriber.on_quit(); });
}

void Hub::execute(Client&, request::Publish&, Clock::time_point) {
  CHECK(false, "a Publish request goes to the publish queue");
}

// ---- topics ----

void Hub::execute(Client& client, request::Topics& request, Clock::time_point) {
  if (client.access) {
    const auto pattern = Pattern::parse(request.pattern);
    if (auto refused = pattern ? check_read(client, Action::list, *pattern) : std::nullopt) {
      return notify(client, [refused = *std::move(refused)](Subscriber& subscriber) {
        subscriber.on_topics_end(0, refused.code, refused.text);
      });
    }
  }
  client.topics = std::make_unique<TopicsReply>(TopicsReply{std::move(request.pattern), {}, 0});
  if (connected_) return request_topics(client.id, {});
  send_topics(client.id, fail(ErrorCode::unavailable, "no broker is connected"));
}

void Hub::request_topics(fanout::ClientId id, const std::string& cursor) {
  broker_->topics(find(id)->topics->pattern, cursor,
                  [this, id](Result<TopicsPage> page) { send_topics(id, std::move(page)); });
}

void Hub::send_topics(fanout::ClientId id, Result<TopicsPage> page) {
  Client* const client = find(id);
  if (client == nullptr || !client->topics) return;
  TopicsReply& reply = *client->topics;
  if (page && client->access) {
    std::erase_if(page->topics, [&](const TopicInfo& topic) { return !client->may_read(topic.name); });
  }
  if (page && !page->topics.empty()) {
    reply.count += page->topics.size();
    auto topics = std::make_shared<const std::vector<TopicInfo>>(std::move(page->topics));
    notify(*client, [topics](Subscriber& subscriber) { subscriber.on_topics(*topics); });
  }
  if (page && !page->cursor.empty()) {
    reply.cursor = std::move(page->cursor);
    return outlet_.post(id, [](fanout::Client& of_engine) { of_engine.notify_when_drained(); });
  }
  std::string code;
  std::string text;
  if (!page) {
    code = page.error().code == ErrorCode::invalid_argument ? "bad_topic" : "unavailable";
    text = page.error().text;
  }
  const std::size_t count = reply.count;
  client->topics.reset();
  notify(*client,
         [count, code, text](Subscriber& subscriber) { subscriber.on_topics_end(count, code, text); });
  if (!client->paused.empty())
    outlet_.post(id, [](fanout::Client& of_engine) { of_engine.notify_when_drained(); });
  resume_deferred(*client);
}

// ---- slow clients ----

void Hub::execute(Client& client, request::Drained&, Clock::time_point) {
  if (client.topics && !client.topics->cursor.empty()) {
    request_topics(client.id, std::exchange(client.topics->cursor, {}));
    return;  // send_topics() waits for the client again, or ends
  }
  // One at a time: at most one slice is sent.
  while (!client.paused.empty()) {
    Subscription& subscription = *client.paused.front();
    client.paused.pop_front();
    if (subscription.backfill->kind == Backfill::Kind::replay) {
      continue_replay(subscription);
      break;
    }
    if (send_value_slice(subscription)) break;
  }
  if (!client.paused.empty())
    outlet_.post(client.id, [](fanout::Client& of_engine) { of_engine.notify_when_drained(); });
}

void Hub::execute(Client& client, request::JoinBufferFull& request, Clock::time_point) {
  const auto found =
      std::find_if(client.subscriptions.begin(), client.subscriptions.end(), [&](const auto& each) {
        return each.second.audience != nullptr && each.second.audience->id == request.audience;
      });
  if (found == client.subscriptions.end()) return;
  Subscription& subscription = found->second;
  leave_audience(subscription, /*left=*/true);
  Backfill* const backfill = subscription.backfill.get();
  if (backfill != nullptr && backfill->buffered && backfill->kind == Backfill::Kind::replay) {
    // The replay goes on, and joins again when it has caught up.
    backfill->buffered = backfill->requested_buffered = false;
  } else if (backfill != nullptr && backfill->buffered && !backfill->started) {
    join_audience(subscription, /*buffered=*/true);
  } else {
    // The buffer was released, or some values have been sent: what is missing now is unknown.
    notify(client, [](Subscriber& subscriber) { subscriber.say_goodbye("slow_consumer"); });
  }
}

// ---- the broker ----

void Hub::on_live(std::uint64_t ticket) {
  live_ticket_ = std::max(live_ticket_, ticket);
  upstream_.on_live(live_ticket_);
  start_active();
  confirm_live_requests();
}

void Hub::on_connection(bool up) {
  connected_ = up;
  announce_live_ = up;
  announce_wait_ = !up;
  if (up) {
    start_active();
    return confirm_live_requests();
  }
  wait_from_ = Clock::time_point::min();
  retained_.invalidate(std::nullopt);  // they lack what is published until the broker is back
}

void Hub::notify_waiting(Client& client, Clock::time_point now) {
  if (connected_ || client.wait_notified || now < wait_from_ || client.subscriptions.empty()) return;
  client.wait_notified = true;
  notify(client, [](Subscriber& subscriber) { subscriber.on_broker(false); });
}

void Hub::tick(Clock::time_point now) {
  now_ = now;
  if (std::exchange(announce_live_, false)) {
    for (auto& [id, client] : clients_) {
      if (!std::exchange(client.wait_notified, false)) continue;
      notify(client, [](Subscriber& subscriber) { subscriber.on_broker(true); });
    }
  }
  if (announce_wait_ && now >= wait_from_) {
    announce_wait_ = false;
    for (auto& [id, client] : clients_) notify_waiting(client, now);
  }
  retained_.expire(now);
  advance_low_watermark(now);
}

Hub::Clock::time_point Hub::next_deadline() const {
  if (announce_live_) return Clock::time_point::min();
  const auto wait = announce_wait_ ? wait_from_ : Clock::time_point::max();
  return retained_.empty() ? wait : std::min(wait, now_ + limits_.values_idle);
}

}  // namespace backplane::gateway
