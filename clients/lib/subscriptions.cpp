#include "clients/lib/subscriptions.hpp"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

namespace backplane::client {
namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint64_t resume_position(const Delivery& delivery) {
  return delivery.resume_at.value_or(delivery.stamp.position);
}

[[noreturn]] void refuse(std::string_view what) {
  throw std::invalid_argument(fmt::format("subscribe: {}", what));
}

/// Where the subscription begins; nothing: with live events.
std::optional<ReplayFrom> start_of(const SubscribeOptions& options, const std::vector<Pattern>& patterns) {
  const int sinces = int{!options.since_token.empty()} + int{options.since_offset.has_value()} +
                     int{options.since_time_ns.has_value()} + int{options.since_ago.count() != 0};
  if (sinces > 1 || (sinces == 1 && options.last)) {
    refuse("at most one of last, since_token, since_offset, since_time_ns and since_ago can be set");
  }
  if (options.every.count() < 0)
    refuse(fmt::format("every: expected 0 ms or more, got {} ms", options.every.count()));
  if (options.since_offset) {
    if (patterns.size() != 1 || !patterns.front().is_exact()) {
      refuse("since_offset: expected one pattern without wildcards");
    }
    return AfterOffset{*options.since_offset};
  }
  if (options.since_time_ns) return SinceTime{*options.since_time_ns};
  if (options.since_ago.count() < 0)
    refuse(fmt::format("since_ago: expected 0 ns or more, got {} ns", options.since_ago.count()));
  if (options.since_ago.count() > 0) return SinceAgo{options.since_ago, std::chrono::steady_clock::now()};
  if (options.since_token.empty()) return std::nullopt;
  auto positions = parse_resume_token(options.since_token);
  if (!positions) refuse(positions.error().text);
  return AfterPositions{std::move(*positions)};
}

}  // namespace

namespace {

/// Whether an event that was discarded from the join buffer has not come from history yet.
bool is_missing(const ReadPositions& discarded, std::span<const StreamPosition> through) {
  return std::any_of(discarded.all().begin(), discarded.all().end(), [&](const StreamPosition& each) {
    const auto read = position_in(through, each.stream);
    return read && *read < each.position;
  });
}

}  // namespace

// ---- subscribing ----

Subscriptions::Subscriptions(ItemQueue& queue, std::size_t join_bytes_max)
    : queue_(queue), join_buffer_bytes_max_(join_bytes_max) {}
Subscriptions::~Subscriptions() = default;

Client::Subscription Subscriptions::subscribe(const std::vector<std::string>& patterns,
                                              const SubscribeOptions& options) {
  std::vector<Pattern> parsed;
  for (const std::string& text : patterns) {
    auto pattern = Pattern::parse(text);
    if (!pattern) refuse(pattern.error().text);
    parsed.push_back(std::move(*pattern));
  }
  if (parsed.empty()) refuse("expected at least one pattern, got none");
  auto from = start_of(options, parsed);

  auto owned = std::make_unique<SubscriptionGroup>();
  SubscriptionGroup& group = *owned;
  group.id = Client::Subscription{++last_group_};
  group.options = options;
  group.since = from.has_value();
  if (from) group.from = std::move(*from);
  group.waiting = parsed.size();
  groups_.emplace(last_group_, std::move(owned));
  if (options.every.count() > 0) throttled_groups_.push_back(&group);
  for (Pattern& pattern : parsed) {
    PatternSubscription& subscription =
        *group.subscriptions.emplace_back(std::make_unique<PatternSubscription>(std::move(pattern)));
    subscription.number = ++last_pattern_;
    subscription.group = &group;
    if (const auto* after = std::get_if<AfterPositions>(&group.from); group.since && after != nullptr) {
      for (const StreamPosition& each : after->positions)
        subscription.read.advance(each.stream, each.position);
    }
    if (subscription.pattern.is_exact()) {
      exact_[subscription.pattern.str()].push_back(&subscription);
    } else {
      wildcards_.push_back(&subscription);
    }
    subscription.ticket = broker_->subscribe(subscription.pattern.literal_prefix());
    pending_.push_back(&subscription);
  }
  ++generation_;
  return group.id;
}

void Subscriptions::unsubscribe(Client::Subscription id) {
  const auto found = groups_.find(static_cast<std::uint64_t>(id));
  if (found == groups_.end()) return;
  SubscriptionGroup& group = *found->second;
  for (const auto& subscription : group.subscriptions) {
    subscription->ended = true;
    broker_->unsubscribe(subscription->pattern.literal_prefix());
    if (subscription->request != 0) {
      broker_->cancel(subscription->request);
      requests_.erase(subscription->request);
      std::erase(replays_to_continue_, subscription->request);
    }
    if (subscription->state == PatternSubscription::State::pending) std::erase(pending_, subscription.get());
    if (!subscription->pattern.is_exact()) {
      std::erase(wildcards_, subscription.get());
      continue;
    }
    const auto exact = exact_.find(subscription->pattern.str());
    if (exact == exact_.end()) continue;
    std::erase(exact->second, subscription.get());
    if (exact->second.empty()) exact_.erase(exact);
  }
  std::erase(throttled_groups_, &group);
  ended_.push_back(std::move(found->second));
  groups_.erase(found);
  ++generation_;
}

void Subscriptions::on_live(std::uint64_t ticket) {
  while (!pending_.empty() && pending_.front()->ticket <= ticket) {
    PatternSubscription& subscription = *pending_.front();
    pending_.pop_front();
    activate(subscription);
  }
}

void Subscriptions::activate(PatternSubscription& subscription) {
  SubscriptionGroup& group = *subscription.group;
  // Live events are buffered until all patterns of the group are active.
  subscription.state = PatternSubscription::State::replaying;
  subscription.joined = broker_->live_positions();
  if (--group.waiting > 0) return;
  queue_.push(&subscription, Client::Subscribed{group.id});
  for (const auto& each : group.subscriptions) start(*each);
}

void Subscriptions::start(PatternSubscription& subscription) {
  const SubscriptionGroup& group = *subscription.group;
  if (group.since) {
    subscription.request = broker_->replay(subscription.pattern.str(), group.from);
  } else if (group.options.last) {
    subscription.state = PatternSubscription::State::retained;
    subscription.request = broker_->retained(subscription.pattern.str());
  } else {
    return join(subscription, subscription.joined);
  }
  requests_.emplace(subscription.request, &subscription);
}

// ---- matching ----

Subscriptions::Topics::value_type& Subscriptions::topic_of(std::string_view name) {
  if (recent_ == nullptr || recent_->first != name) {
    auto found = topics_.find(name);
    if (found == topics_.end()) found = topics_.try_emplace(std::string(name)).first;
    recent_ = &*found;
  }
  if (recent_->second.generation != generation_) [[unlikely]]
    find_matches(name, recent_->second);
  return *recent_;
}

void Subscriptions::find_matches(std::string_view name, Topic& topic) {
  std::vector<PatternSubscription*> subscriptions;
  if (const auto exact = exact_.find(name); exact != exact_.end()) subscriptions = exact->second;
  for (PatternSubscription* const subscription : wildcards_) {
    if (subscription->pattern.matches(name)) subscriptions.push_back(subscription);
  }
  // If several patterns of a group match, the first one gets the event.
  std::sort(subscriptions.begin(), subscriptions.end(),
            [](const PatternSubscription* a, const PatternSubscription* b) { return a->number < b->number; });
  subscriptions.erase(std::unique(subscriptions.begin(), subscriptions.end(),
                                  [](const PatternSubscription* a, const PatternSubscription* b) {
                                    return a->group == b->group;
                                  }),
                      subscriptions.end());
  std::vector<Match> matches;
  for (PatternSubscription* const subscription : subscriptions) {
    const auto before = std::find_if(topic.matches.begin(), topic.matches.end(), [&](const Match& match) {
      return match.number == subscription->number;
    });
    matches.push_back(before != topic.matches.end() ? *before
                                                    : Match{subscription, subscription->number, 0, 0});
  }
  topic.matches = std::move(matches);
  topic.generation = generation_;
}

void Subscriptions::on_event(const Delivery& delivery) {
  std::optional<ItemQueue::Bytes> bytes;
  for (Match& match : topic_of(delivery.topic).second.matches) {
    PatternSubscription& subscription = *match.subscription;
    if (subscription.state == PatternSubscription::State::live) [[likely]] {
      deliver_live(subscription, match, delivery, bytes);
    } else if (subscription.state != PatternSubscription::State::pending) {
      buffer(subscription, PatternSubscription::Buffered{
                               std::string(delivery.topic), std::string(text_of(delivery.event)),
                               delivery.stamp, delivery.late, resume_position(delivery), std::nullopt});
    }
  }
}

void Subscriptions::deliver_live(PatternSubscription& subscription, Match& match, const Delivery& delivery,
                                 std::optional<ItemQueue::Bytes>& bytes) {
  const wire::Stamp& stamp = delivery.stamp;
  if (const auto joined = position_in(subscription.joined, stamp.stream); joined && stamp.position <= *joined)
    return;
  // A last value may be newer than the position of the reply that contained it.
  if (stamp.stream == match.stream && stamp.offset <= match.offset) return;
  enqueue(subscription, delivery, false, bytes);
}

void Subscriptions::enqueue(PatternSubscription& subscription, const Delivery& delivery, bool from_history,
                            std::optional<ItemQueue::Bytes>& bytes) {
  if (subscription.group->options.every.count() > 0 && throttle(subscription, delivery, from_history)) return;
  if (!bytes) bytes = queue_.copy(delivery.topic, delivery.event);
  queue_.push(ItemQueue::Record{&subscription, *bytes, delivery.stamp, ItemQueue::no_notice, from_history,
                                delivery.late, resume_position(delivery)});
}

// ---- history, and how it joins live events ----

void Subscriptions::buffer(PatternSubscription& subscription, PatternSubscription::Buffered buffered) {
  subscription.join_buffer_bytes += buffered.topic.size() + buffered.event.size();
  subscription.join_buffer.push_back(std::move(buffered));
  while (subscription.join_buffer_bytes > join_buffer_bytes_max_) {
    const PatternSubscription::Buffered& oldest = subscription.join_buffer.front();
    subscription.join_buffer_bytes -= oldest.topic.size() + oldest.event.size();
    // History is read up to discarded events. (That covers discarded gaps: the replay reports what is gone.)
    if (!oldest.gap) subscription.discarded.advance(oldest.stamp.stream, oldest.stamp.position);
    subscription.join_buffer.pop_front();
  }
}

PatternSubscription* Subscriptions::subscription_of(std::uint64_t request) {
  const auto found = requests_.find(request);
  return found == requests_.end() ? nullptr : found->second;
}

void Subscriptions::deliver_history(PatternSubscription& subscription, const Delivery& delivery) {
  for (Match& match : topic_of(delivery.topic).second.matches) {
    if (match.subscription != &subscription) continue;  // another pattern of the group gets it
    match.stream = delivery.stamp.stream;
    match.offset = delivery.stamp.offset;
    std::optional<ItemQueue::Bytes> bytes;
    enqueue(subscription, delivery, true, bytes);
  }
}

void Subscriptions::on_retained(std::uint64_t request, const Delivery& delivery) {
  if (PatternSubscription* const subscription = subscription_of(request);
      subscription != nullptr && subscription->pattern.matches(delivery.topic)) {
    deliver_history(*subscription, delivery);
  }
}

void Subscriptions::on_retained_end(std::uint64_t request, const RetainedEnd& end) {
  PatternSubscription* const subscription = subscription_of(request);
  if (subscription == nullptr) return;
  requests_.erase(request);
  subscription->request = 0;
  if (end.error) {
    queue_.push(subscription,
                Client::Refused{subscription->group->id, fmt::format("last: {}", end.error->text)});
    if (end.as_of.empty()) return join(*subscription, subscription->joined);
  }
  if (subscription->discarded.all().empty()) return join(*subscription, subscription->joined);
  subscription->state = PatternSubscription::State::replaying;
  subscription->request = broker_->replay(subscription->pattern.str(), AfterPositions{end.as_of});
  requests_.emplace(subscription->request, subscription);
}

void Subscriptions::on_replayed(std::uint64_t request, const Delivery& delivery) {
  if (PatternSubscription* const subscription = subscription_of(request))
    deliver_history(*subscription, delivery);
}

void Subscriptions::on_replayed_gap(std::uint64_t request, const Gap& gap) {
  PatternSubscription* const subscription = subscription_of(request);
  if (subscription == nullptr) return;
  for (Match& match : topic_of(gap.topic).second.matches) {
    if (match.subscription != subscription) continue;
    enqueue_gap(
        *subscription, match,
        {subscription->group->id, gap.stream, std::string(gap.topic), gap.first, gap.last, gap.reason});
    match.offset = match.stream == gap.stream ? std::max(match.offset, gap.last) : gap.last;
    match.stream = gap.stream;
  }
}

void Subscriptions::on_replay_slice(std::uint64_t request, const ReplaySlice& slice) {
  PatternSubscription* const subscription = subscription_of(request);
  if (subscription == nullptr) return;
  if (slice.reset) {
    report_reset(*slice.reset, position_in(slice.through, slice.reset->new_stream).value_or(0));
  }
  if (slice.gone) {
    Client::Gap gap{subscription->group->id, slice.gone->stream, subscription->pattern.str(), 0, 0,
                    GapReason::history_gone};
    if (subscription->pattern.is_exact() && slice.gone->first_available_offset > 0) {
      gap.last = slice.gone->first_available_offset - 1;
      const auto* offset = std::get_if<AfterOffset>(&subscription->group->from);
      if (subscription->group->since && offset != nullptr) gap.first = offset->offset + 1;
    }
    queue_.push(subscription, std::move(gap));
  }
  if (slice.error) {
    queue_.push(subscription,
                Client::Refused{subscription->group->id, fmt::format("since: {}", slice.error->text)});
  } else {
    if (!slice.complete || is_missing(subscription->discarded, slice.through))
      return replays_to_continue_.push_back(request);
    broker_->cancel(request);
  }
  requests_.erase(request);
  subscription->request = 0;
  // A stream whose history was not read continues where its live events began.
  StreamPositions joined = slice.complete ? slice.through : StreamPositions{};
  for (const StreamPosition& live : subscription->joined) {
    if (!position_in(joined, live.stream)) joined.push_back(live);
  }
  join(*subscription, joined);
}

void Subscriptions::join(PatternSubscription& subscription, const StreamPositions& through) {
  subscription.state = PatternSubscription::State::live;
  subscription.joined = through;
  for (const StreamPosition& discarded : subscription.discarded.all()) {
    if (position_in(through, discarded.stream).value_or(0) >= discarded.position) continue;
    // Discarded events would have come from history, which could not be read.
    queue_.push(&subscription, Client::Gap{subscription.group->id, discarded.stream,
                                           subscription.pattern.str(), 0, 0, GapReason::recovery_timeout});
  }
  subscription.discarded = {};
  subscription.join_buffer_bytes = 0;
  for (PatternSubscription::Buffered& buffered : std::exchange(subscription.join_buffer, {})) {
    for (Match& match : topic_of(buffered.topic).second.matches) {
      if (match.subscription != &subscription) continue;
      if (buffered.gap) {
        enqueue_gap(subscription, match, std::move(*buffered.gap));
        break;
      }
      std::optional<ItemQueue::Bytes> bytes;
      deliver_live(subscription, match,
                   Delivery{buffered.topic, std::as_bytes(std::span(buffered.event)), buffered.stamp,
                            buffered.late, nullptr, buffered.resume_at},
                   bytes);
      break;
    }
  }
  queue_.push(&subscription, ItemQueue::Joined{through});
}

// ---- losses ----

void Subscriptions::on_gap(const Gap& gap) {
  for (Match& match : topic_of(gap.topic).second.matches) {
    PatternSubscription& subscription = *match.subscription;
    Client::Gap announced{
        subscription.group->id, gap.stream, std::string(gap.topic), gap.first, gap.last, gap.reason};
    if (subscription.state == PatternSubscription::State::live) {
      enqueue_gap(subscription, match, std::move(announced));
    } else if (subscription.state != PatternSubscription::State::pending) {
      buffer(subscription,
             PatternSubscription::Buffered{std::string(gap.topic), {}, {}, false, 0, std::move(announced)});
    }
  }
}

void Subscriptions::enqueue_gap(PatternSubscription& subscription, const Match& match, Client::Gap gap) {
  if (gap.stream == match.stream) {  // events that came from history are not lost
    if (gap.last <= match.offset) return;
    if (match.offset > 0) gap.first = std::max(gap.first, match.offset + 1);
  }
  queue_.push(&subscription, std::move(gap));
}

void Subscriptions::on_reset(const Reset& reset) {
  report_reset(reset, 0);
}

void Subscriptions::report_reset(const Reset& reset, std::uint64_t position) {
  const bool reported = reported_reset_ && reported_reset_->old_stream == reset.old_stream &&
                        reported_reset_->new_stream == reset.new_stream;
  if (reported) return;
  reported_reset_ = reset;
  queue_.push(nullptr, ItemQueue::Restarted{{reset.old_stream, reset.new_stream}, position});
}

void Subscriptions::on_connection(bool up) {
  broker_up_ = up;
  queue_.push(nullptr, Client::Broker{up, broker_->broker()});
}

void Subscriptions::on_key_problem(const std::string& problem) {
  queue_.push(nullptr, Client::Broker{broker_up_, broker_->broker(), problem});
}

// ---- throttling (every) ----

bool Subscriptions::throttle(PatternSubscription& subscription, const Delivery& delivery, bool from_history) {
  SubscriptionGroup& group = *subscription.group;
  const auto found = group.throttled.find(delivery.topic);
  if (found == group.throttled.end()) {
    std::string topic(delivery.topic);
    group.throttled.emplace(
        topic, SubscriptionGroup::Throttled{&subscription, topic, std::nullopt, {}, false, false, 0});
    group.throttle_deadlines.emplace_back(now_ + group.options.every, std::move(topic));
    return false;
  }
  SubscriptionGroup::Throttled& throttled = found->second;
  if (throttled.event) ++conflated_;
  throttled.subscription = &subscription;
  throttled.event = text_of(delivery.event);
  throttled.stamp = delivery.stamp;
  throttled.from_history = from_history;
  throttled.late = delivery.late;
  throttled.resume_at = resume_position(delivery);
  return true;
}

std::size_t Subscriptions::end_throttles(SubscriptionGroup& group) {
  std::size_t done = 0;
  for (; !group.throttle_deadlines.empty() && group.throttle_deadlines.front().first <= now_; ++done) {
    std::string topic = std::move(group.throttle_deadlines.front().second);
    group.throttle_deadlines.pop_front();
    const auto found = group.throttled.find(topic);
    if (found == group.throttled.end()) continue;
    SubscriptionGroup::Throttled& throttled = found->second;
    if (!throttled.event) {
      group.throttled.erase(found);
      continue;
    }
    const auto bytes = queue_.copy(topic, std::as_bytes(std::span(*throttled.event)));
    queue_.push(ItemQueue::Record{throttled.subscription, bytes, throttled.stamp, ItemQueue::no_notice,
                                  throttled.from_history, throttled.late, throttled.resume_at});
    throttled.event.reset();
    group.throttle_deadlines.emplace_back(now_ + group.options.every, std::move(topic));
  }
  return done;
}

std::size_t Subscriptions::tick(Clock::time_point now) {
  now_ = now;
  std::size_t done = 0;
  for (SubscriptionGroup* const group : throttled_groups_) done += end_throttles(*group);
  if (!queue_.empty()) return done;
  queue_.clear();
  ended_.clear();
  for (const std::uint64_t request : std::exchange(replays_to_continue_, {})) {
    broker_->replay_more(request);
    ++done;
  }
  return done;
}

Subscriptions::Clock::time_point Subscriptions::next_deadline() const {
  auto earliest = replays_to_continue_.empty() ? Clock::time_point::max() : Clock::time_point::min();
  for (const SubscriptionGroup* const group : throttled_groups_) {
    if (!group->throttle_deadlines.empty())
      earliest = std::min(earliest, group->throttle_deadlines.front().first);
  }
  return earliest;
}

// ---- how far events have been delivered ----

void Subscriptions::on_delivered(const ItemQueue::Record& record) {
  if (record.notice == ItemQueue::no_notice) {
    PatternSubscription& subscription = *record.subscription;
    if (subscription.delivered_live && !record.from_history) [[likely]] {
      live_read_.advance(record.stamp.stream, record.resume_at);
    } else if (!subscription.group->options.last) {
      subscription.read.advance(record.stamp.stream, record.resume_at);
    }
    return;
  }
  const ItemQueue::Notice& notice = queue_.notice(record);
  if (const auto* joined = std::get_if<ItemQueue::Joined>(&notice)) {
    for (const StreamPosition& each : joined->at)
      record.subscription->read.advance(each.stream, each.position);
    record.subscription->delivered_live = true;
  } else if (const auto* restarted = std::get_if<ItemQueue::Restarted>(&notice)) {
    const StreamPosition to{restarted->reset.new_stream, restarted->position};
    live_read_.replace(restarted->reset.old_stream, to);
    for (const auto& [id, group] : groups_) {
      for (const auto& subscription : group->subscriptions)
        subscription->read.replace(restarted->reset.old_stream, to);
    }
  }
}

std::vector<StreamPosition> Subscriptions::read_positions() const {
  std::map<std::uint64_t, std::uint64_t> lowest;
  const auto limit = [&](std::uint64_t stream, std::uint64_t position) {
    const auto [found, is_new] = lowest.try_emplace(stream, position);
    if (!is_new) found->second = std::min(found->second, position);
  };
  for (const auto& [id, group] : groups_) {
    for (const auto& subscription : group->subscriptions) {
      ReadPositions read = subscription->read;
      if (subscription->delivered_live) {
        for (const StreamPosition& live : live_read_.all()) read.advance(live.stream, live.position);
      }
      for (const StreamPosition& each : read.all()) limit(each.stream, each.position);
    }
    for (const auto& [topic, throttled] : group->throttled) {
      if (throttled.event) limit(throttled.stamp.stream, throttled.stamp.position - 1);
    }
  }
  std::vector<StreamPosition> positions;
  for (const auto& [stream, position] : lowest) positions.push_back({stream, position});
  return positions;
}

}  // namespace backplane::client
