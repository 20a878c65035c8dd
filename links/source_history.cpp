#include "links/source_history.hpp"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "backplane/v1/control.pb.h"
#include "core/process/host.hpp"
#include "core/topic/topic.hpp"

namespace backplane::links {
namespace {

using std::chrono::milliseconds;

// The largest event that a broker can be configured to accept, and what a reply adds to it.
constexpr std::int64_t reply_bytes_max = (256 << 20) + (1 << 20);
constexpr milliseconds request_timeout{5000};
constexpr milliseconds hello_interval{1000};
constexpr milliseconds retry_interval{1000};
// The next slice is requested while this much of the ones before is still there.
constexpr std::size_t buffered_items_max = 1024;
constexpr std::size_t buffered_bytes_max = 1u << 20;
constexpr std::uint64_t everything = std::numeric_limits<std::uint64_t>::max();

}  // namespace

SourceHistory::SourceHistory(mq::Context& context, Options options)
    : options_(std::move(options)),
      channel_(context, options_.broker.control, options_.broker.keys, reply_bytes_max),
      requests_(channel_, request_timeout),
      replays_(*this, request_timeout, /*only_broker=*/true),
      session_(random_id()) {
  for (const std::string& pattern : options_.patterns) {
    feeds_.emplace_back();
    feeds_.back().pattern = pattern;
  }
}

SourceHistory::~SourceHistory() = default;

// ── what is read ─────────────────────────────────────────────────────────────────────────────────────────

void SourceHistory::begin(const StreamPosition& after, const std::optional<ReplayFrom>& since) {
  stop();
  reading_ = true;
  stream_ = after.stream;
  first_available_ = 0;
  for (Feed& feed : feeds_) {
    feed.through = after.position;
    feed.knows_through = !since;
    open(feed, since ? *since : ReplayFrom{AfterPositions{{after}}});
  }
}

void SourceHistory::stop() {
  reading_ = false;
  for (Feed& feed : feeds_) {
    if (feed.number != 0) replays_.cancel(feed.number);
    std::string pattern = std::move(feed.pattern);
    feed = {};
    feed.pattern = std::move(pattern);
  }
}

void SourceHistory::open(Feed& feed, const ReplayFrom& from) {
  feed.number = ++last_number_;
  feed.idle = feed.complete = feed.filling = feed.wants_rest = false;
  feed.fill.clear();
  feed.retry_at.reset();
  replays_.begin(feed.number, feed.pattern, from);
}

/// Continues after a failure, where the feed is.
void SourceHistory::reopen(Feed& feed) {
  if (feed.number != 0) replays_.cancel(feed.number);
  open(feed, ReplayFrom{AfterPositions{{{stream_, feed.through}}}});
}

SourceHistory::Feed* SourceHistory::find(std::uint64_t number) {
  const auto found =
      std::ranges::find_if(feeds_, [&](const Feed& each) { return each.number == number && number != 0; });
  return found == feeds_.end() ? nullptr : &*found;
}

void SourceHistory::replayed(std::uint64_t number, const Delivery& delivery) {
  Feed* const feed = find(number);
  if (feed == nullptr || delivery.stamp.stream != stream_) return;
  SourceItem item;
  item.position = delivery.stamp.position;
  item.topic = delivery.topic;
  item.event.assign(reinterpret_cast<const char*>(delivery.event.data()), delivery.event.size());
  item.stamp = delivery.stamp;
  feed->bytes += item.event.size();
  feed->items.push_back(std::move(item));
}

void SourceHistory::replayed_gap(std::uint64_t number, const Gap& gap) {
  Feed* const feed = find(number);
  if (feed == nullptr || gap.stream != stream_) return;
  SourceItem item;
  item.kind = SourceItem::Kind::gap;
  item.position = gap.position;
  item.topic = gap.topic;
  item.first = gap.first;
  item.last = gap.last;
  feed->items.push_back(std::move(item));
}

void SourceHistory::replay_slice(std::uint64_t number, const ReplaySlice& slice) {
  Feed* const feed = find(number);
  if (feed == nullptr) return;
  if (slice.error) {
    problem_ = fmt::format("{}: {}", options_.broker.control, slice.error->text);
    feed->number = 0;
    feed->retry_at = now_ + retry_interval;
    return;
  }
  if (slice.reset && slice.reset->old_stream == slice.reset->new_stream) {
    // Our place is in this stream, but the broker's store has been put back to an earlier state.
    problem_ = fmt::format("{}: the broker has not reached position {}, up to which was read before",
                           options_.broker.control, feed->through);
    replays_.cancel(number);
    feed->number = 0;
    feed->retry_at = now_ + retry_interval;
    return;
  }
  if (slice.reset && slice.reset->new_stream != stream_) {
    feed->next_stream = slice.reset->new_stream;
    replays_.cancel(number);
    feed->number = 0;
    return;
  }
  if (slice.gone && slice.gone->stream == stream_) {
    ++gone_;
    feed->filling = true;
    feed->fill_before = slice.gone->first_available;
    if (!feed->has_begun) first_available_ = std::max(first_available_, feed->fill_before);
    feed->has_begun = true;
    // With `since`, nothing older than the first event that is left was requested.
    feed->fill_after = feed->knows_through ? feed->through : feed->fill_before - 1;
    // Values and tails are those of the current incarnation.
    if (broker_ && broker_->stream != stream_) return sort_fill(*feed);
    return request_values(number, {});
  }
  problem_.clear();
  if (const auto through = position_in(slice.through, stream_)) {
    feed->through = std::max(feed->through, *through);
    feed->knows_through = true;
  }
  feed->idle = feed->has_begun = true;
  const bool is_new = !feed->items.empty();
  feed->complete = slice.complete;
  feed->pause = slice.complete && !is_new ? std::min(2 * feed->pause, options_.poll_max) : milliseconds{1};
  feed->request_at = slice.complete ? now_ + feed->pause : now_;
}

std::uint64_t SourceHistory::watermark() const {
  std::uint64_t lowest = everything;
  for (const Feed& feed : feeds_) {
    if (feed.next_stream) continue;
    lowest = std::min(lowest, feed.knows_through ? feed.through : 0);
  }
  return lowest;
}

const SourceItem* SourceHistory::front() {
  const SourceItem* first = nullptr;
  for (const Feed& feed : feeds_) {
    if (!feed.items.empty() && (first == nullptr || feed.items.front().position < first->position)) {
      first = &feed.items.front();
    }
  }
  return first != nullptr && first->position <= watermark() ? first : nullptr;
}

void SourceHistory::pop() {
  const SourceItem* const first = front();
  if (first == nullptr) return;
  const std::uint64_t position = first->position;
  const SourceItem::Kind kind = first->kind;
  const std::string topic = feeds_.size() > 1 ? first->topic : std::string();
  bool popped = false;
  for (Feed& feed : feeds_) {
    // Patterns may overlap: the same item is in several feeds.
    if (feed.items.empty() || feed.items.front().position != position) continue;
    const SourceItem& same = feed.items.front();
    if (popped && (same.kind != kind || same.topic != topic)) continue;
    popped = true;
    feed.bytes -= same.event.size();
    feed.items.pop_front();
  }
}

std::uint64_t SourceHistory::through() const {
  std::uint64_t through = watermark();
  for (const Feed& feed : feeds_) {
    if (!feed.items.empty()) through = std::min(through, feed.items.front().position - 1);
  }
  return through == everything ? 0 : through;
}

bool SourceHistory::caught_up() const {
  return reading_ && broker_ && std::ranges::all_of(feeds_, [](const Feed& feed) {
           return feed.complete && feed.items.empty() && !feed.filling;
         });
}

std::optional<std::uint64_t> SourceHistory::next_stream() {
  if (!reading_) return std::nullopt;
  for (const Feed& feed : feeds_) {
    if (!feed.next_stream || !feed.items.empty()) return std::nullopt;
  }
  return feeds_.front().next_stream;
}

std::string SourceHistory::problem() const {
  if (!channel_.keys().text().empty()) return channel_.keys().text();
  if (!channel_.connected()) return fmt::format("no broker at {}", options_.broker.control);
  return problem_;
}

// ── what is gone ─────────────────────────────────────────────────────────────────────────────────────────

/// The last values of the topics may be older than the oldest event in history.
void SourceHistory::request_values(std::uint64_t number, const std::string& cursor) {
  Feed* const feed = find(number);
  v1::ControlRequest request;
  request.mutable_retained()->set_pattern(feed->pattern);
  request.mutable_retained()->set_cursor(cursor);
  channel_.send(request, request_timeout, follower::ControlChannel::Urgency::can_wait,
                [this, number, alive = alive_.token()](const Result<const v1::ControlReply*>& result) {
                  if (!alive.expired()) on_values(number, result);
                });
}

void SourceHistory::on_values(std::uint64_t number, const Result<const v1::ControlReply*>& result) {
  Feed* const feed = find(number);
  if (feed == nullptr || !feed->filling) return;
  if (!result || (*result)->stream() != stream_) {
    if (!result) problem_ = fmt::format("{}: {}", options_.broker.control, result.error().text);
    feed->retry_at = now_ + retry_interval;
    return;
  }
  for (const v1::StoredEvent& stored : (*result)->retained().events()) {
    const auto stamp = wire::read_stamp(std::as_bytes(std::span(stored.event())));
    if (!stamp || check_topic(stored.topic()) != TopicFault::none) continue;
    if (stamp->position <= feed->fill_after || stamp->position >= feed->fill_before) continue;
    SourceItem item;
    item.position = stamp->position;
    item.topic = stored.topic();
    item.event = stored.event();
    item.stamp = *stamp;
    feed->fill.push_back(std::move(item));
  }
  if ((*result)->has_more()) return request_values(number, (*result)->more().cursor());
  request_tails(number, {});
}

/// The other topics that have lost events, and have none in history.
void SourceHistory::request_tails(std::uint64_t number, const std::string& cursor) {
  Feed* const feed = find(number);
  v1::ControlRequest request;
  request.mutable_tails()->add_patterns(feed->pattern);
  request.mutable_tails()->set_after_position(feed->fill_after);
  request.mutable_tails()->set_cursor(cursor);
  channel_.send(request, request_timeout, follower::ControlChannel::Urgency::can_wait,
                [this, number, alive = alive_.token()](const Result<const v1::ControlReply*>& result) {
                  if (!alive.expired()) on_tails(number, result);
                });
}

void SourceHistory::on_tails(std::uint64_t number, const Result<const v1::ControlReply*>& result) {
  Feed* const feed = find(number);
  if (feed == nullptr || !feed->filling) return;
  if (!result || (*result)->stream() != stream_) {
    if (!result) problem_ = fmt::format("{}: {}", options_.broker.control, result.error().text);
    feed->retry_at = now_ + retry_interval;
    return;
  }
  bool past = false;  // they come in the order of their positions
  for (const auto& tail : (*result)->tails().tails()) {
    if (tail.position() >= feed->fill_before) {
      past = true;
      break;
    }
    SourceItem item;
    item.kind = SourceItem::Kind::tail;
    item.position = tail.position();
    item.topic = tail.topic();
    item.last = tail.offset();
    feed->fill.push_back(std::move(item));
  }
  if (!past && (*result)->has_more()) return request_tails(number, (*result)->more().cursor());
  sort_fill(*feed);
}

/// Of a topic with a value, the value is the tail.
void SourceHistory::sort_fill(Feed& feed) {
  std::ranges::stable_sort(feed.fill, {},
                           [](const SourceItem& each) { return std::pair(each.position, each.kind); });
  if (feed.fill_after + 1 >= feed.fill_before) return finish_fill(feed);
  feed.rest_cursor.clear();
  request_rest(feed);
}

/// What history still has between the events that are gone.
void SourceHistory::request_rest(Feed& feed) {
  feed.wants_rest = false;
  v1::ControlRequest request;
  v1::ReplayRequest& replay = *request.mutable_replay();
  replay.set_pattern(feed.pattern);
  replay.mutable_after_position()->set_stream(stream_);
  replay.mutable_after_position()->set_position(feed.fill_after);
  replay.set_until_position(feed.fill_before - 1);
  replay.set_partial(true);
  replay.set_earlier(true);
  replay.set_cursor(feed.rest_cursor);
  channel_.send(
      request, request_timeout, follower::ControlChannel::Urgency::can_wait,
      [this, number = feed.number, alive = alive_.token()](const Result<const v1::ControlReply*>& result) {
        if (!alive.expired()) on_rest(number, result);
      });
}

void SourceHistory::on_rest(std::uint64_t number, const Result<const v1::ControlReply*>& result) {
  Feed* const feed = find(number);
  if (feed == nullptr || !feed->filling) return;
  const std::uint64_t earlier = result ? (*result)->replay().stream() : 0;
  if (!result || (earlier != 0 ? earlier : (*result)->stream()) != stream_) {
    if (!result) problem_ = fmt::format("{}: {}", options_.broker.control, result.error().text);
    feed->retry_at = now_ + retry_interval;
    return;
  }
  const v1::ReplayReply& reply = (*result)->replay();
  if ((*result)->has_gone()) return finish_fill(*feed);  // a broker that does not know `partial`
  std::vector<SourceItem> items;
  for (const v1::StoredEvent& stored : reply.events()) {
    const auto stamp = wire::read_stamp(std::as_bytes(std::span(stored.event())));
    if (!stamp || stamp->stream != stream_ || check_topic(stored.topic()) != TopicFault::none) continue;
    SourceItem& item = items.emplace_back();
    item.position = stamp->position;
    item.topic = stored.topic();
    item.event = stored.event();
    item.stamp = *stamp;
  }
  for (const v1::DestroyedEvents& each : reply.destroyed()) {
    SourceItem& item = items.emplace_back();
    item.kind = SourceItem::Kind::gap;
    item.position = each.position();
    item.topic = each.topic();
    item.first = each.first_offset();
    item.last = each.last_offset();
  }
  take_fill(*feed, reply.through_position(), std::move(items));
  const bool is_complete = !(*result)->has_more();
  if (is_complete && reply.through_position() + 1 >= feed->fill_before) return finish_fill(*feed);
  feed->wants_rest = true;
  if (is_complete) {
    // The broker has events that it has not published yet.
    feed->fill_after = std::max(feed->fill_after, reply.through_position());
    feed->rest_cursor.clear();
    feed->request_at = now_ + milliseconds{1};
  } else {
    feed->rest_cursor = (*result)->more().cursor();
    feed->request_at = now_;
  }
}

/// Adds items of history, and what replaces missing ones, up to `through`.
void SourceHistory::take_fill(Feed& feed, std::uint64_t through, std::vector<SourceItem> items) {
  while (!feed.fill.empty() && feed.fill.front().position <= through) {
    items.push_back(std::move(feed.fill.front()));
    feed.fill.pop_front();
  }
  std::ranges::stable_sort(items, {},
                           [](const SourceItem& each) { return std::pair(each.position, each.kind); });
  for (SourceItem& item : items) {
    // A topic's last value can be in history, too; so can its tail.
    if (!feed.items.empty() && feed.items.back().position == item.position) continue;
    feed.bytes += item.event.size();
    feed.items.push_back(std::move(item));
  }
  feed.through = std::max(feed.through, through);
  feed.knows_through = true;
}

void SourceHistory::finish_fill(Feed& feed) {
  take_fill(feed, feed.fill_before - 1, {});
  feed.fill.clear();
  feed.filling = feed.wants_rest = false;
  feed.idle = true;
  feed.complete = false;
  feed.request_at = now_;
}

// ── turns ────────────────────────────────────────────────────────────────────────────────────────────────

void SourceHistory::say_hello(Clock::time_point now) {
  hello_at_ = now + hello_interval;
  v1::ControlRequest request;
  v1::HelloRequest& hello = *request.mutable_hello();
  hello.set_name(options_.name);
  hello.set_session(session_);
  hello.set_role(v1::HelloRequest::ROLE_CLIENT);
  for (const auto& [name, value] : counters_) (*hello.mutable_counters())[name] = value;
  channel_.send(request, request_timeout, follower::ControlChannel::Urgency::urgent,
                [this, alive = alive_.token()](const Result<const v1::ControlReply*>& result) {
                  if (alive.expired()) return;
                  if (!result) {
                    if (channel_.connected())
                      problem_ = fmt::format("{}: {}", options_.broker.control, result.error().text);
                    return;
                  }
                  broker_ = StreamPosition{(*result)->stream(), (*result)->position()};
                  broker_position_ = (*result)->position();
                });
}

std::size_t SourceHistory::do_work(Clock::time_point now) {
  now_ = now;
  const bool was_connected = channel_.connected();
  std::size_t done = channel_.do_work(now);
  if (!channel_.connected()) {
    broker_.reset();
    hello_at_ = now;
    return done;
  }
  if (!was_connected) {
    broker_.reset();
    hello_at_ = now;
  }
  if (now >= hello_at_) {
    say_hello(now);
    ++done;
  }
  if (!broker_) return done;
  for (Feed& feed : feeds_) {
    if (feed.retry_at && now >= *feed.retry_at) reopen(feed);
    const bool has_room = feed.items.size() < buffered_items_max && feed.bytes < buffered_bytes_max;
    if (feed.wants_rest && has_room && now >= feed.request_at) {
      request_rest(feed);
      ++done;
    }
    if (feed.number == 0 || !feed.idle || !has_room || now < feed.request_at) continue;
    feed.idle = false;
    replays_.more(feed.number);
    ++done;
  }
  return done + replays_.send(channel_, *broker_, now);
}

std::vector<int> SourceHistory::fds() {
  std::vector<int> fds;
  channel_.add_fds(fds);
  return fds;
}

SourceHistory::Clock::time_point SourceHistory::next_deadline() const {
  Clock::time_point earliest = channel_.next_deadline();
  if (!channel_.connected()) return earliest;
  earliest = std::min({earliest, hello_at_});
  if (broker_) earliest = std::min(earliest, replays_.request_deadline());
  for (const Feed& feed : feeds_) {
    if (feed.retry_at) earliest = std::min(earliest, *feed.retry_at);
    const bool has_room = feed.items.size() < buffered_items_max && feed.bytes < buffered_bytes_max;
    if (broker_ && feed.number != 0 && (feed.idle || feed.wants_rest) && has_room)
      earliest = std::min(earliest, feed.request_at);
  }
  return earliest;
}

}  // namespace backplane::links
