#include "clients/lib/subscriptions.hpp"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

namespace backplane::client {
namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint32_t origin(std::uint64_t stream) {
  return static_cast<std::uint32_t>(stream >> 32);
}

[[noreturn]] void refuse(std::string_view what) {
  throw std::invalid_argument(fmt::format("subscribe: {}", what));
}

/// Where the options say that the reading begins; nothing: now.
std::optional<ReplayFrom> start_of(const SubscribeOptions& options, const std::vector<Pattern>& patterns) {
  const int sinces = int{!options.since_token.empty()} + int{options.since_offset.has_value()} +
                     int{options.since_time_ns.has_value()};
  if (sinces > 1 || (sinces == 1 && options.last)) {
    refuse("at most one of last, since_token, since_offset and since_time_ns can be set");
  }
  if (options.every.count() < 0)
    refuse(fmt::format("every: wanted 0 ms or more, got {} ms", options.every.count()));
  if (options.since_offset) {
    if (patterns.size() != 1 || !patterns.front().is_exact()) {
      refuse("since_offset: wanted with one pattern that is one topic");
    }
    return AfterOffset{*options.since_offset};
  }
  if (options.since_time_ns) return SinceTime{*options.since_time_ns};
  if (options.since_token.empty()) return std::nullopt;
  auto places = parse_resume_token(options.since_token);
  if (!places) refuse(places.error().text);
  return AfterPositions{std::move(*places)};
}

}  // namespace

// ---- places ----

void Places::advance_other(const StreamPosition& place) {
  const auto found = std::find_if(places_.begin(), places_.end(),
                                  [&](const StreamPosition& each) { return each.stream == place.stream; });
  if (found == places_.end()) return places_.push_back(place);
  found->position = std::max(found->position, place.position);
}

void Places::replace(std::uint64_t old_stream, const StreamPosition& place) {
  if (std::erase_if(places_, [&](const StreamPosition& each) { return each.stream == old_stream; }) == 0)
    return;
  advance(place.stream, place.position);
}

std::optional<std::uint64_t> Places::of(std::uint64_t stream) const {
  for (const StreamPosition& each : places_) {
    if (each.stream == stream) return each.position;
  }
  return std::nullopt;
}

// ---- subscribing ----

Feeds::Feeds(ItemQueue& queue, std::size_t join_bytes_max) : queue_(queue), join_bytes_max_(join_bytes_max) {}
Feeds::~Feeds() = default;

Client::Subscription Feeds::subscribe(const std::vector<std::string>& patterns,
                                      const SubscribeOptions& options) {
  std::vector<Pattern> parsed;
  for (const std::string& text : patterns) {
    auto pattern = Pattern::parse(text);
    if (!pattern) refuse(pattern.error().text);
    parsed.push_back(std::move(*pattern));
  }
  if (parsed.empty()) refuse("wanted a pattern, got none");
  auto from = start_of(options, parsed);

  auto made = std::make_unique<FeedGroup>();
  FeedGroup& group = *made;
  group.id = Client::Subscription{++last_group_};
  group.options = options;
  group.since = from.has_value();
  if (from) group.from = std::move(*from);
  group.waiting = parsed.size();
  groups_.emplace(last_group_, std::move(made));
  if (options.every.count() > 0) with_every_.push_back(&group);
  for (Pattern& pattern : parsed) {
    Feed& feed = *group.feeds.emplace_back(std::make_unique<Feed>(std::move(pattern)));
    feed.number = ++last_feed_;
    feed.group = &group;
    if (const auto* after = std::get_if<AfterPositions>(&group.from); group.since && after != nullptr) {
      for (const StreamPosition& each : after->positions) feed.at.advance(each.stream, each.position);
    }
    if (feed.pattern.is_exact()) {
      exact_[feed.pattern.str()].push_back(&feed);
    } else {
      wildcards_.push_back(&feed);
    }
    feed.ticket = broker_->subscribe(feed.pattern.literal_prefix());
    waiting_.push_back(&feed);
  }
  ++generation_;
  return group.id;
}

void Feeds::unsubscribe(Client::Subscription subscription) {
  const auto found = groups_.find(static_cast<std::uint64_t>(subscription));
  if (found == groups_.end()) return;
  FeedGroup& group = *found->second;
  for (const auto& feed : group.feeds) {
    feed->ended = true;
    broker_->unsubscribe(feed->pattern.literal_prefix());
    if (feed->request != 0) {
      broker_->cancel(feed->request);
      requests_.erase(feed->request);
      std::erase(more_wanted_, feed->request);
    }
    if (feed->stage == Feed::Stage::waits) std::erase(waiting_, feed.get());
    if (!feed->pattern.is_exact()) {
      std::erase(wildcards_, feed.get());
      continue;
    }
    const auto exact = exact_.find(feed->pattern.str());
    if (exact == exact_.end()) continue;
    std::erase(exact->second, feed.get());
    if (exact->second.empty()) exact_.erase(exact);
  }
  std::erase(with_every_, &group);
  ended_.push_back(std::move(found->second));
  groups_.erase(found);
  ++generation_;
}

void Feeds::on_live(std::uint64_t ticket) {
  while (!waiting_.empty() && waiting_.front()->ticket <= ticket) {
    Feed& feed = *waiting_.front();
    waiting_.pop_front();
    come_into_force(feed);
  }
}

void Feeds::come_into_force(Feed& feed) {
  FeedGroup& group = *feed.group;
  feed.stage = Feed::Stage::replay;  // live events are held until all of the subscription is in force
  feed.joined = broker_->live_position();
  if (--group.waiting > 0) return;
  queue_.push(&feed, Client::Subscribed{group.id});
  for (const auto& each : group.feeds) begin(*each);
}

void Feeds::begin(Feed& feed) {
  const FeedGroup& group = *feed.group;
  if (group.since) {
    feed.request = broker_->replay(feed.pattern.str(), group.from);
  } else if (group.options.last) {
    feed.stage = Feed::Stage::retained;
    feed.request = broker_->retained(feed.pattern.str());
  } else {
    return join(feed, feed.joined);
  }
  requests_.emplace(feed.request, &feed);
}

// ---- which event is whose ----

Feeds::Topics::value_type& Feeds::topic_of(std::string_view name) {
  if (recent_ == nullptr || recent_->first != name) {
    auto found = topics_.find(name);
    if (found == topics_.end()) found = topics_.try_emplace(std::string(name)).first;
    recent_ = &*found;
  }
  if (recent_->second.generation != generation_) [[unlikely]]
    find_wants(name, recent_->second);
  return *recent_;
}

void Feeds::find_wants(std::string_view name, Topic& topic) {
  std::vector<Feed*> feeds;
  if (const auto exact = exact_.find(name); exact != exact_.end()) feeds = exact->second;
  for (Feed* const feed : wildcards_) {
    if (feed->pattern.matches(name)) feeds.push_back(feed);
  }
  // Of a subscription's patterns, the first that matches has it.
  std::sort(feeds.begin(), feeds.end(), [](const Feed* a, const Feed* b) { return a->number < b->number; });
  feeds.erase(std::unique(feeds.begin(), feeds.end(),
                          [](const Feed* a, const Feed* b) { return a->group == b->group; }),
              feeds.end());
  std::vector<Want> wants;
  for (Feed* const feed : feeds) {
    const auto before = std::find_if(topic.wants.begin(), topic.wants.end(),
                                     [&](const Want& want) { return want.number == feed->number; });
    wants.push_back(before != topic.wants.end() ? *before : Want{feed, feed->number, 0, 0});
  }
  topic.wants = std::move(wants);
  topic.generation = generation_;
}

void Feeds::on_event(const Delivery& delivery) {
  std::optional<ItemQueue::Bytes> bytes;
  for (Want& want : topic_of(delivery.topic).second.wants) {
    Feed& feed = *want.feed;
    if (feed.stage == Feed::Stage::live) [[likely]] {
      pass(feed, want, delivery, bytes);
    } else if (feed.stage != Feed::Stage::waits) {
      hold(feed, Feed::Held{std::string(delivery.topic), std::string(text_of(delivery.event)), delivery.stamp,
                            delivery.late, std::nullopt});
    }
  }
}

void Feeds::pass(Feed& feed, Want& want, const Delivery& delivery, std::optional<ItemQueue::Bytes>& bytes) {
  const wire::Stamp& stamp = delivery.stamp;
  if (stamp.stream == feed.joined.stream && stamp.position <= feed.joined.position) return;
  // A value that was given may be newer than what the values stand for.
  if (stamp.stream == want.stream && stamp.offset <= want.offset) return;
  give(feed, delivery, false, bytes);
}

void Feeds::give(Feed& feed, const Delivery& delivery, bool from_history,
                 std::optional<ItemQueue::Bytes>& bytes) {
  if (feed.group->options.every.count() > 0 && pauses(feed, delivery, from_history)) return;
  if (!bytes) bytes = queue_.keep(delivery.topic, delivery.event);
  queue_.push(
      ItemQueue::Record{&feed, *bytes, delivery.stamp, ItemQueue::no_notice, from_history, delivery.late});
}

// ---- history, and how it joins the live events ----

void Feeds::hold(Feed& feed, Feed::Held held) {
  feed.held_bytes += held.topic.size() + held.event.size();
  feed.held.push_back(std::move(held));
  while (feed.held_bytes > join_bytes_max_) {
    const Feed::Held& oldest = feed.held.front();
    feed.held_bytes -= oldest.topic.size() + oldest.event.size();
    // What is dropped here will be read from history. (A gap too: history says what it does not hold.)
    if (!oldest.gap) feed.dropped = StreamPosition{oldest.stamp.stream, oldest.stamp.position};
    feed.held.pop_front();
  }
}

Feed* Feeds::feed_of(std::uint64_t request) {
  const auto found = requests_.find(request);
  return found == requests_.end() ? nullptr : found->second;
}

void Feeds::history_event(Feed& feed, const Delivery& delivery) {
  for (Want& want : topic_of(delivery.topic).second.wants) {
    if (want.feed != &feed) continue;  // another pattern of the same subscription has it
    want.stream = delivery.stamp.stream;
    want.offset = delivery.stamp.offset;
    std::optional<ItemQueue::Bytes> bytes;
    give(feed, delivery, true, bytes);
  }
}

void Feeds::on_retained(std::uint64_t request, const Delivery& delivery) {
  if (Feed* const feed = feed_of(request); feed != nullptr && feed->pattern.matches(delivery.topic)) {
    history_event(*feed, delivery);
  }
}

void Feeds::on_retained_end(std::uint64_t request, const RetainedEnd& end) {
  Feed* const feed = feed_of(request);
  if (feed == nullptr) return;
  requests_.erase(request);
  feed->request = 0;
  if (end.error) {
    queue_.push(feed, Client::Refused{feed->group->id, fmt::format("last: {}", end.error->text)});
    if (end.stream == 0) return join(*feed, feed->joined);
  }
  if (!feed->dropped) return join(*feed, feed->joined);
  feed->stage = Feed::Stage::replay;
  feed->request = broker_->replay(feed->pattern.str(), AfterPositions{{{end.stream, end.position}}});
  requests_.emplace(feed->request, feed);
}

void Feeds::on_replayed(std::uint64_t request, const Delivery& delivery) {
  if (Feed* const feed = feed_of(request)) history_event(*feed, delivery);
}

void Feeds::on_replay_slice(std::uint64_t request, const ReplaySlice& slice) {
  Feed* const feed = feed_of(request);
  if (feed == nullptr) return;
  if (slice.reset) {
    const bool same_broker = origin(slice.reset->old_stream) == origin(slice.reset->new_stream);
    tell_reset(*slice.reset, same_broker ? 0 : slice.through_position);
  }
  if (slice.gone) {
    Client::Gap gap{feed->group->id,        slice.through_stream, feed->pattern.str(), 0, 0,
                    GapReason::history_gone};
    if (feed->pattern.is_exact() && slice.gone->first_available_offset > 0) {
      gap.last = slice.gone->first_available_offset - 1;
      const auto* offset = std::get_if<AfterOffset>(&feed->group->from);
      if (feed->group->since && offset != nullptr) gap.first = offset->offset + 1;
    }
    queue_.push(feed, std::move(gap));
  }
  if (slice.error) {
    queue_.push(feed, Client::Refused{feed->group->id, fmt::format("since: {}", slice.error->text)});
  } else {
    const bool missing = feed->dropped && feed->dropped->stream == slice.through_stream &&
                         feed->dropped->position > slice.through_position;
    if (!slice.complete || missing) return more_wanted_.push_back(request);
    broker_->cancel(request);
  }
  requests_.erase(request);
  feed->request = 0;
  join(*feed, slice.complete ? StreamPosition{slice.through_stream, slice.through_position} : feed->joined);
}

void Feeds::join(Feed& feed, const StreamPosition& through) {
  feed.stage = Feed::Stage::live;
  feed.joined = through;
  if (feed.dropped && feed.dropped->stream == through.stream && feed.dropped->position > through.position) {
    // They were to come from history, which could not be read.
    queue_.push(&feed, Client::Gap{feed.group->id, through.stream, feed.pattern.str(), 0, 0,
                                   GapReason::recovery_timeout});
  }
  feed.dropped.reset();
  feed.held_bytes = 0;
  for (Feed::Held& held : std::exchange(feed.held, {})) {
    for (Want& want : topic_of(held.topic).second.wants) {
      if (want.feed != &feed) continue;
      if (held.gap) {
        give_gap(feed, want, std::move(*held.gap));
        break;
      }
      std::optional<ItemQueue::Bytes> bytes;
      pass(feed, want, Delivery{held.topic, std::as_bytes(std::span(held.event)), held.stamp, held.late},
           bytes);
      break;
    }
  }
  queue_.push(&feed, ItemQueue::Joined{through});
}

// ---- losses ----

void Feeds::on_gap(const Gap& gap) {
  for (Want& want : topic_of(gap.topic).second.wants) {
    Feed& feed = *want.feed;
    Client::Gap told{feed.group->id, gap.stream, std::string(gap.topic), gap.first, gap.last, gap.reason};
    if (feed.stage == Feed::Stage::live) {
      give_gap(feed, want, std::move(told));
    } else if (feed.stage != Feed::Stage::waits) {
      hold(feed, Feed::Held{std::string(gap.topic), {}, {}, false, std::move(told)});
    }
  }
}

void Feeds::give_gap(Feed& feed, const Want& want, Client::Gap gap) {
  if (gap.stream == want.stream) {  // what came from history is not lost
    if (gap.last <= want.offset) return;
    if (want.offset > 0) gap.first = std::max(gap.first, want.offset + 1);
  }
  queue_.push(&feed, std::move(gap));
}

void Feeds::on_reset(const Reset& reset) {
  tell_reset(reset, 0);
}

void Feeds::tell_reset(const Reset& reset, std::uint64_t position) {
  const bool told = told_reset_ && told_reset_->old_stream == reset.old_stream &&
                    told_reset_->new_stream == reset.new_stream;
  if (told) return;
  told_reset_ = reset;
  queue_.push(nullptr, ItemQueue::Restarted{{reset.old_stream, reset.new_stream}, position});
}

void Feeds::on_connection(bool up) {
  if (up) {
    const StreamPosition now = broker_->live_position();
    // Another life of the same broker shows by itself; another broker's stream has nothing to do with ours.
    const bool other = broker_stream_ != 0 && origin(broker_stream_) != origin(now.stream);
    if (other) tell_reset(Reset{broker_stream_, now.stream}, now.position);
    broker_stream_ = now.stream;
  }
  queue_.push(nullptr, Client::Broker{up, broker_->broker()});
}

// ---- every ----

bool Feeds::pauses(Feed& feed, const Delivery& delivery, bool from_history) {
  FeedGroup& group = *feed.group;
  const auto found = group.pauses.find(delivery.topic);
  if (found == group.pauses.end()) {
    std::string topic(delivery.topic);
    group.pauses.emplace(topic, FeedGroup::Pause{&feed, topic, std::nullopt, {}, false, false});
    group.pause_ends.emplace_back(now_ + group.options.every, std::move(topic));
    return false;
  }
  FeedGroup::Pause& pause = found->second;
  if (pause.event) ++conflated_;
  pause.feed = &feed;
  pause.event = text_of(delivery.event);
  pause.stamp = delivery.stamp;
  pause.from_history = from_history;
  pause.late = delivery.late;
  return true;
}

std::size_t Feeds::end_pauses(FeedGroup& group) {
  std::size_t done = 0;
  for (; !group.pause_ends.empty() && group.pause_ends.front().first <= now_; ++done) {
    std::string topic = std::move(group.pause_ends.front().second);
    group.pause_ends.pop_front();
    const auto found = group.pauses.find(topic);
    if (found == group.pauses.end()) continue;
    FeedGroup::Pause& pause = found->second;
    if (!pause.event) {
      group.pauses.erase(found);
      continue;
    }
    const auto bytes = queue_.keep(topic, std::as_bytes(std::span(*pause.event)));
    queue_.push(ItemQueue::Record{pause.feed, bytes, pause.stamp, ItemQueue::no_notice, pause.from_history,
                                  pause.late});
    pause.event.reset();
    group.pause_ends.emplace_back(now_ + group.options.every, std::move(topic));
  }
  return done;
}

std::size_t Feeds::tick(Clock::time_point now) {
  now_ = now;
  std::size_t done = 0;
  for (FeedGroup* const group : with_every_) done += end_pauses(*group);
  if (!queue_.empty()) return done;
  queue_.clear();
  ended_.clear();
  for (const std::uint64_t request : std::exchange(more_wanted_, {})) {
    broker_->replay_more(request);
    ++done;
  }
  return done;
}

Feeds::Clock::time_point Feeds::next_deadline() const {
  auto earliest = more_wanted_.empty() ? Clock::time_point::max() : Clock::time_point::min();
  for (const FeedGroup* const group : with_every_) {
    if (!group->pause_ends.empty()) earliest = std::min(earliest, group->pause_ends.front().first);
  }
  return earliest;
}

// ---- how far the reading has come ----

void Feeds::given(const ItemQueue::Record& record) {
  if (record.notice == ItemQueue::no_notice) {
    Feed& feed = *record.feed;
    if (feed.given_live && !record.from_history) [[likely]] {
      live_at_.advance(record.stamp.stream, record.stamp.position);
    } else if (!feed.group->options.last) {
      feed.at.advance(record.stamp.stream, record.stamp.position);
    }
    return;
  }
  const ItemQueue::Notice& notice = queue_.notice(record);
  if (const auto* joined = std::get_if<ItemQueue::Joined>(&notice)) {
    record.feed->at.advance(joined->at.stream, joined->at.position);
    record.feed->given_live = true;
  } else if (const auto* restarted = std::get_if<ItemQueue::Restarted>(&notice)) {
    const StreamPosition place{restarted->reset.new_stream, restarted->position};
    live_at_.replace(restarted->reset.old_stream, place);
    for (const auto& [id, group] : groups_) {
      for (const auto& feed : group->feeds) feed->at.replace(restarted->reset.old_stream, place);
    }
  }
}

std::vector<StreamPosition> Feeds::places() const {
  std::map<std::uint64_t, std::uint64_t> lowest;
  const auto limit = [&](std::uint64_t stream, std::uint64_t position) {
    const auto [found, is_new] = lowest.try_emplace(stream, position);
    if (!is_new) found->second = std::min(found->second, position);
  };
  for (const auto& [id, group] : groups_) {
    for (const auto& feed : group->feeds) {
      Places at = feed->at;
      if (feed->given_live) {
        for (const StreamPosition& live : live_at_.all()) at.advance(live.stream, live.position);
      }
      for (const StreamPosition& each : at.all()) limit(each.stream, each.position);
    }
    for (const auto& [topic, pause] : group->pauses) {
      if (pause.event) limit(pause.stamp.stream, pause.stamp.position - 1);
    }
  }
  std::vector<StreamPosition> places;
  for (const auto& [stream, position] : lowest) places.push_back({stream, position});
  return places;
}

}  // namespace backplane::client
