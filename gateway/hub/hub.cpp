// Clients and what they ask for: subscriptions made, proven, answered, taken back.
#include "gateway/hub/hub.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/error/error.hpp"
#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {
namespace {

// Commands of one client that wait for a long answer of its own to end.
constexpr std::size_t deferred_max = 100'000;

/// Whether it waits until all joins have been given what they begin with.
bool is_for_later(const Request& request) {
  return std::holds_alternative<request::SetFormat>(request.what) ||
         std::holds_alternative<request::ReportPosition>(request.what);
}

}  // namespace

Hub::Hub(HubLimits limits, Outlet& outlet, TopicDirectory& directory, Clock::time_point now)
    : limits_(limits),
      outlet_(outlet),
      directory_(directory),
      upstream_(limits.prefixes_max),
      routes_(outlet),
      wait_from_(now + limits.first_wait),
      now_(now) {
  notice_routes_.fill(RouteTable::none);
}

Hub::~Hub() = default;

HubCounters Hub::counters() const noexcept {
  HubCounters counters = counters_;
  counters.clients = readers_.size();
  counters.topics = topics_.size();
  return counters;
}

std::vector<fanout::ClientId> Hub::clients() const {
  std::vector<fanout::ClientId> all;
  all.reserve(readers_.size());
  for (const auto& [id, reader] : readers_) all.push_back(id);
  return all;
}

Hub::Reader* Hub::find(fanout::ClientId client) {
  const auto found = readers_.find(client);
  return found == readers_.end() ? nullptr : &found->second;
}

void Hub::add(fanout::ClientId client, Format format) {
  Reader& reader = readers_[client];
  reader.id = client;
  reader.format = format;
}

void Hub::remove(fanout::ClientId client) {
  Reader* const reader = find(client);
  if (reader == nullptr) return;
  reader->deferred.clear();
  for (auto& [pattern, subscription] : reader->subscriptions) withdraw(subscription, /*gone=*/true);
  while (!reader->subscriptions.empty()) drop(reader->subscriptions.begin()->second);
  readers_.erase(client);
}

void Hub::give(const Reader& reader, Text text, bool notify_drained) {
  outlet_.post(reader.id, [text = std::move(text), notify_drained](fanout::Client& client) {
    client.reply(*text);
    if (notify_drained) client.notify_when_drained();
  });
}

// ---- requests ----

void Hub::handle(Request request, Clock::time_point now) {
  now_ = now;
  Reader* const reader = find(request.client);
  if (reader == nullptr) return;
  const bool at_once = std::holds_alternative<request::Drained>(request.what) ||
                       std::holds_alternative<request::JoinBufferFull>(request.what);
  const bool waits =
      !reader->deferred.empty() || reader->topics || (is_for_later(request) && reader->feeding > 0);
  if (!at_once && !reader->resuming && waits) {
    if (reader->deferred.size() < deferred_max) return reader->deferred.push_back(std::move(request));
    return tell(*reader, [](Subscriber& client) { client.say_goodbye("too_many_commands"); });
  }
  std::visit([&](auto& what) { execute(*reader, what, now); }, request.what);
}

void Hub::resume_deferred(Reader& reader) {
  reader.resuming = true;
  while (!reader.deferred.empty() && !reader.topics) {
    if (is_for_later(reader.deferred.front()) && reader.feeding > 0) break;
    Request next = std::move(reader.deferred.front());
    reader.deferred.pop_front();
    std::visit([&](auto& what) { execute(reader, what, now_); }, next.what);
  }
  reader.resuming = false;
}

void Hub::execute(Reader& reader, request::Subscribe& request, Clock::time_point now) {
  if (subscribe(reader, request.pattern, request.options, /*answered=*/true)) tell_waiting(reader, now);
}

void Hub::feed(fanout::ClientId client, const Pattern& pattern, const PatternOptions& options,
               Clock::time_point now) {
  now_ = now;
  Reader* const reader = find(client);
  if (reader == nullptr) return;
  if (subscribe(*reader, pattern, options, /*answered=*/false)) tell_waiting(*reader, now);
}

bool Hub::subscribe(Reader& reader, const Pattern& pattern, const PatternOptions& options, bool answered) {
  auto known = reader.subscriptions.find(pattern.str());
  if (known == reader.subscriptions.end()) {
    if (reader.subscriptions.size() >= limits_.subscriptions_per_client_max) {
      ++counters_.refused;
      std::string text = fmt::format("wanted at most {} subscriptions", limits_.subscriptions_per_client_max);
      tell(reader, [pattern = pattern.str(), text = std::move(text)](Subscriber& client) {
        client.on_refused(pattern, "too_many_subscriptions", text);
      });
      return false;
    }
    if (reader.subscriptions.empty()) tell(reader, [](Subscriber& client) { client.on_subscriptions(true); });
    Interest& interest = interest_in(pattern);
    ++interest.subscriptions;
    known = reader.subscriptions.try_emplace(interest.pattern.str()).first;
    known->second.reader = &reader;
    known->second.interest = &interest;
    ++counters_.subscriptions;
  }
  Subscription& subscription = known->second;
  if (answered) ++subscription.unanswered;
  // What was asked for before and has not begun yet is replaced.
  end_join(subscription);
  const bool other_pace = subscription.every != options.every;
  if (!subscription.in_force || options.since || other_pace) {
    withdraw(subscription, /*gone=*/false);
    // At another pace it goes on without a moment between.
    if (subscription.in_force && !options.since) {
      subscription.set_options(options);
      enter(subscription, /*buffered=*/false);
    }
  }
  subscription.set_options(options);
  if (options.since) subscription.in_force = false;
  if (connected_ && subscription.interest->ticket <= live_ticket_) {
    begin(subscription);
  } else {
    waiting_.emplace(subscription.interest->ticket, &subscription);
  }
  return true;
}

void Hub::begin(Subscription& subscription) {
  if (subscription.since) return begin_replay(subscription);
  if (subscription.last) return begin_values(subscription);
  if (!subscription.in_force) {
    if (subscription.audience == nullptr) enter(subscription, /*buffered=*/false);
    subscription.in_force = true;
  }
  answer(subscription);
}

void Hub::answer(Subscription& subscription) {
  const std::size_t count = std::exchange(subscription.unanswered, 0u);
  if (count == 0) return;
  tell(*subscription.reader, [pattern = subscription.interest->pattern.str(), count](Subscriber& client) {
    for (std::size_t i = 0; i < count; ++i) client.on_subscribed(pattern);
  });
}

void Hub::refuse(Subscription& subscription, std::string_view code, std::string text) {
  ++counters_.refused;
  const Reader& reader = *subscription.reader;
  const std::size_t count = std::exchange(subscription.unanswered, 0u);
  const std::string pattern = subscription.interest->pattern.str();
  if (subscription.in_force) {
    end_join(subscription);  // it was in force before: that much stays
    subscription.last = false;
    subscription.since.reset();
  } else {
    drop(subscription);
  }
  tell(reader, [pattern, code, text = std::move(text), count](Subscriber& client) {
    for (std::size_t i = 0; i < count; ++i) client.on_refused(pattern, code, text);
  });
}

void Hub::drop(Subscription& subscription) {
  Reader& reader = *subscription.reader;
  Interest& interest = *subscription.interest;
  waiting_.erase({interest.ticket, &subscription});
  end_join(subscription);
  withdraw(subscription, /*gone=*/false);
  // In this order: its name is the interest's.
  reader.subscriptions.erase(interest.pattern.str());
  --counters_.subscriptions;
  if (--interest.subscriptions == 0) let_go(interest);
  if (reader.subscriptions.empty()) tell(reader, [](Subscriber& client) { client.on_subscriptions(false); });
}

void Hub::execute(Reader& reader, request::Unsubscribe& request, Clock::time_point) {
  const auto found = reader.subscriptions.find(request.pattern);
  const bool was = found != reader.subscriptions.end();
  if (was) {
    Subscription& subscription = found->second;
    if (subscription.unanswered > 0) {
      subscription.in_force = false;
      refuse(subscription, "cancelled", "UNSUB came before it was in force");
    } else {
      drop(subscription);
    }
  }
  tell(reader, [pattern = std::move(request.pattern), was](Subscriber& client) {
    client.on_unsubscribed(pattern, was);
  });
}

void Hub::execute(Reader& reader, request::SetFormat& request, Clock::time_point) {
  const Format format = request.format;
  tell(reader, [format](Subscriber& client) { client.on_format(format); });
  if (reader.format == format) return;
  std::vector<std::pair<Subscription*, bool>> moved;
  for (auto& [pattern, subscription] : reader.subscriptions) {
    if (subscription.audience == nullptr) continue;
    moved.emplace_back(&subscription, subscription.join && subscription.join->buffered);
    withdraw(subscription, /*gone=*/false);
  }
  reader.format = format;
  // What is kept aside begins anew here: values are asked for as of now, see Values.
  for (const auto& [subscription, buffered] : moved) enter(*subscription, buffered);
}

void Hub::execute(Reader& reader, request::ReportPosition&, Clock::time_point) {
  StreamPosition reached = broker_->live_position();
  if (reached.stream == 0) return;
  // What waits for others has not been given, and is perhaps below where reading began: only what has been
  // given says how far that is. Where nothing has, the client keeps the place that it has.
  const bool waits = broker_->is_recovering();
  if (place_.stream == stream_id(reached.stream)) {
    reached.position = waits ? place_.position : std::max(reached.position, place_.position);
  } else if (waits) {
    return;
  }
  tell(reader, [reached](Subscriber& client) { client.on_position(reached); });
}

void Hub::execute(Reader& reader, request::Echo& request, Clock::time_point) {
  tell(reader, [reply = std::move(request.reply)](Subscriber& client) { client.on_echo(reply); });
}

void Hub::execute(Reader& reader, request::Quit&, Clock::time_point) {
  std::vector<Subscription*> unanswered;
  for (auto& [pattern, subscription] : reader.subscriptions) {
    if (subscription.unanswered > 0) unanswered.push_back(&subscription);
  }
  for (Subscription* const subscription : unanswered) {
    refuse(*subscription, "cancelled", "QUIT came before it was in force");
  }
  tell(reader, [](Subscriber& client) { client.on_quit(); });
}

void Hub::execute(Reader&, request::Publish&, Clock::time_point) {
  CHECK(false, "what is published goes to the publish queue, not to the hub");
}

// ---- topics ----

void Hub::execute(Reader& reader, request::Topics& request, Clock::time_point) {
  reader.topics = std::make_unique<TopicsAnswer>(TopicsAnswer{std::move(request.pattern), {}, 0});
  if (connected_) return ask_topics(reader.id, {});
  give_topics(reader.id, fail(ErrorCode::unavailable, "there is no broker to ask"));
}

void Hub::ask_topics(fanout::ClientId client, const std::string& cursor) {
  broker_->topics(find(client)->topics->pattern, cursor,
                  [this, client](Result<TopicsPage> page) { give_topics(client, std::move(page)); });
}

void Hub::give_topics(fanout::ClientId client, Result<TopicsPage> page) {
  Reader* const reader = find(client);
  if (reader == nullptr) return;
  TopicsAnswer& answer = *reader->topics;
  if (page && !page->topics.empty()) {
    answer.count += page->topics.size();
    auto topics = std::make_shared<const std::vector<TopicInfo>>(std::move(page->topics));
    tell(*reader, [topics](Subscriber& to) { to.on_topics(*topics); });
  }
  if (page && !page->cursor.empty()) {
    answer.cursor = std::move(page->cursor);
    return outlet_.post(client, [](fanout::Client& to) { to.notify_when_drained(); });
  }
  std::string code;
  std::string text;
  if (!page) {
    code = page.error().code == ErrorCode::invalid_argument ? "bad_topic" : "unavailable";
    text = page.error().text;
  }
  const std::size_t count = answer.count;
  reader->topics.reset();
  tell(*reader, [count, code, text](Subscriber& to) { to.on_topics_end(count, code, text); });
  if (!reader->paused_replies.empty())
    outlet_.post(client, [](fanout::Client& to) { to.notify_when_drained(); });
  resume_deferred(*reader);
}

// ---- room ----

void Hub::notify_when_drained(Subscription& subscription) {
  subscription.reader->paused_replies.push_back(&subscription);
}

void Hub::execute(Reader& reader, request::Drained&, Clock::time_point) {
  if (reader.topics && !reader.topics->cursor.empty()) {
    ask_topics(reader.id, std::exchange(reader.topics->cursor, {}));
    return;  // its answer asks for room again, or ends
  }
  // One at a time, so that a slice is what is written at most.
  while (!reader.paused_replies.empty()) {
    Subscription& subscription = *reader.paused_replies.front();
    reader.paused_replies.pop_front();
    const bool gave =
        subscription.join->kind == Join::Kind::values ? serve_slice(subscription) : replay_on(subscription);
    if (gave) break;
  }
  if (!reader.paused_replies.empty())
    outlet_.post(reader.id, [](fanout::Client& client) { client.notify_when_drained(); });
}

void Hub::execute(Reader& reader, request::JoinBufferFull& request, Clock::time_point) {
  const auto found =
      std::find_if(reader.subscriptions.begin(), reader.subscriptions.end(), [&](const auto& each) {
        return each.second.audience != nullptr && each.second.audience->id == request.audience;
      });
  if (found == reader.subscriptions.end()) return;
  Subscription& subscription = found->second;
  withdraw(subscription, /*gone=*/true);
  Join* const join = subscription.join.get();
  if (join != nullptr && join->buffered && join->kind == Join::Kind::replay) {
    join->buffered = join->asked_held = false;  // the replay goes on, and holds again when it has caught up
  } else if (join != nullptr && join->buffered && !join->feeding) {
    enter(subscription, /*buffered=*/true);
  } else {
    // It was released, or given values in part: what is missing now nobody can tell.
    tell(reader, [](Subscriber& client) { client.say_goodbye("slow_consumer"); });
  }
}

// ---- the broker ----

void Hub::proven() {
  while (connected_ && !waiting_.empty() && waiting_.begin()->first <= live_ticket_) {
    Subscription& subscription = *waiting_.begin()->second;
    waiting_.erase(waiting_.begin());
    begin(subscription);
  }
}

void Hub::on_live(std::uint64_t ticket) {
  live_ticket_ = std::max(live_ticket_, ticket);
  upstream_.on_live(live_ticket_);
  proven();
}

void Hub::on_connection(bool up) {
  connected_ = up;
  announce_live_ = up;
  wait_due_ = !up;
  if (up) {
    // Another life of the same broker shows by itself. Another broker's stream has nothing to do with the one
    // before, whose end nobody will see.
    const std::uint64_t stream = broker_->live_position().stream;
    if (broker_stream_ != 0 && stream != broker_stream_) on_reset(Reset{broker_stream_, stream});
    broker_stream_ = stream;
    return proven();
  }
  wait_from_ = Clock::time_point::min();
  forget_values(std::nullopt);  // what passes unseen now is in none that are here already
}

void Hub::tell_waiting(Reader& reader, Clock::time_point now) {
  if (connected_ || reader.told_to_wait || now < wait_from_ || reader.subscriptions.empty()) return;
  reader.told_to_wait = true;
  tell(reader, [](Subscriber& client) { client.on_broker(false); });
}

void Hub::tick(Clock::time_point now) {
  now_ = now;
  if (std::exchange(announce_live_, false)) {
    for (auto& [id, reader] : readers_) {
      if (!std::exchange(reader.told_to_wait, false)) continue;
      tell(reader, [](Subscriber& client) { client.on_broker(true); });
    }
  }
  if (wait_due_ && now >= wait_from_) {
    wait_due_ = false;
    for (auto& [id, reader] : readers_) tell_waiting(reader, now);
  }
  expire_values(now);
  advance_low_watermark(now);
}

Hub::Clock::time_point Hub::next_deadline() const {
  if (announce_live_) return Clock::time_point::min();
  const auto wait = wait_due_ ? wait_from_ : Clock::time_point::max();
  return values_kept_.empty() ? wait : std::min(wait, now_ + limits_.values_idle);
}

}  // namespace backplane::gateway
