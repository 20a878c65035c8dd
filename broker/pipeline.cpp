// What happens to an event, from top to bottom:
//
//   take ──▶ admit ──▶ number ──▶ stamp ──▶ (batch) ──▶ flush: remember ──▶ written? ──▶ publish ──▶ count
//              └─▶ refuse: counted under its reason, logged at a limited rate
//
// An event is published after the store has written it. A subscriber that sees a hole in the live stream
// therefore finds the missing event in history, as long as history holds it; and what a subscriber has seen
// outlives the process, if the store does. The store writes batches in order, and they are published in
// order. Meanwhile the next ones are taken, up to a limit, above which publishers wait.

#include "broker/pipeline.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "broker/ingress/peer.hpp"
#include "broker/ingress/raw_event.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::broker {
namespace {

std::span<const std::byte> bytes_of(const zmq::message_t& frame) {
  return {frame.data<std::byte>(), frame.size()};
}

// The place of the stamp: the last bytes of the event.
std::span<std::byte, wire::stamp_bytes> stamp_of(std::span<std::byte> stamped) {
  return stamped.last<wire::stamp_bytes>();
}

// A session's sequence may jump this far on another connection than before, and this far if the connection
// before has ended: the first is more than our publishers ever skip, the second more than any can lose.
constexpr std::uint64_t sequence_jump_max = 1024;
constexpr std::uint64_t sequence_loss_max = std::uint64_t{1} << 32;

// AdmittedReply tells the publisher by how many connections its session's events came: if they are more than
// its own, it shares its session with another program. After a publisher has reconnected, events of the
// connections before may still arrive. While the store is full, these may be many: nothing is read, and
// publishers take that for a broken connection.
constexpr std::size_t earlier_peers_max = 1024;
void change_connection(SessionEntry& session, Peer peer, zmq::message_t& message) {
  if (session.connections == 0 || !session.has_come_by(peer)) ++session.connections;
  if (session.connections > 1 && !session.has_come_by(session.peer)) {
    if (session.earlier_peers.size() >= earlier_peers_max) {
      session.earlier_peers.erase(session.earlier_peers.begin());
    }
    session.earlier_peers.push_back(session.peer);
  }
  session.peer = peer;
  session.socket = PeerSocket(message);
}

// More than the store writes or syncs at a time on any disk that keeps up; replies to requests about topics
// search them.
constexpr std::size_t pending_events_max = 8192;
constexpr std::size_t pending_bytes_max = 8u << 20;

// Allocates `frame` for an event of `event_bytes` and its stamp.
std::span<std::byte> make_room(zmq::message_t& frame, std::size_t event_bytes) {
  const std::size_t bytes = event_bytes + wire::stamp_bytes;
  frame.rebuild(bytes);
  return {frame.data<std::byte>(), bytes};
}

}  // namespace

Pipeline::Pipeline(BackplaneState& state, Access& access, EgressSink& sink, UnixClock now)
    : state_(state), access_(access), sink_(sink), now_(std::move(now)) {
  in_flight_.resize(1024);
  state_.unpublished.reserve(1024);
}

void Pipeline::take(zmq::message_t& topic, zmq::message_t& event, TopicEntry* known,
                    const policy::User* user) {
  ++state_.counters.received_total;
  const std::span<const std::byte> bytes = bytes_of(event);
  Admitted admitted{.topic = known};
  if (admit(topic.to_string_view(), {event, user}, admitted) != Refusal::none) return;

  // The event is never re-serialised: the publisher's bytes, then field 15.
  InFlight& slot = next_in_flight();
  slot.topic.swap(topic);
  slot.system = false;
  slot.lost = admitted.lost > 0;
  const std::span<std::byte> stamped = make_room(slot.event, bytes.size());
  std::memcpy(stamped.data(), bytes.data(), bytes.size());
  // The last of the lost events gets this position; the others have none.
  if (admitted.lost > 1) {
    admitted.topic->offset += admitted.lost - 1;
    state_.offsets_without_position += admitted.lost - 1;
  }
  number(admitted, stamped);
}

void Pipeline::take_raw(zmq::message_t& topic, zmq::message_t& bytes, const policy::User* user) {
  ++state_.counters.received_total;
  const std::string_view name = topic.to_string_view();
  const Origin from{bytes, user};
  if (const TopicFault fault = check_topic(name); fault != TopicFault::none) {
    return refuse(Refusal::bad_topic, name, backplane::describe(fault, name), &from);
  }
  if (is_system_topic(name)) {
    return refuse(Refusal::reserved_topic, name, "$SYS topics are reserved for the broker", &from);
  }
  if (!permit(name, from)) return;
  const std::size_t event_bytes = raw_event_bytes(bytes.size());
  if (event_bytes > state_.max_event_bytes) {
    return refuse(Refusal::too_large, name,
                  fmt::format("expected at most {} bytes, got {}", state_.max_event_bytes, event_bytes),
                  &from);
  }
  TopicEntry* entry = state_.topics.find_or_add(name);
  if (entry == nullptr) {
    return refuse(Refusal::topics_full, name, "limit of topics reached (max_topics)", &from);
  }

  InFlight& slot = next_in_flight();
  slot.topic.swap(topic);
  slot.system = slot.lost = false;
  const std::span<std::byte> stamped = make_room(slot.event, event_bytes);
  write_raw_event(bytes_of(bytes), stamped.first(event_bytes));
  number({.topic = entry}, stamped);
}

void Pipeline::refuse_frames(std::size_t frames) {
  ++state_.counters.received_total;
  refuse(Refusal::wrong_frames, "", fmt::format("expected the two frames [topic][event], got {}", frames),
         nullptr);
}

void Pipeline::publish_system(std::string_view topic, std::string_view event) {
  TopicEntry* const entry = &state_.topics.find_or_add_own(topic);
  InFlight& slot = next_in_flight();
  slot.topic.rebuild(topic.data(), topic.size());
  slot.system = true;
  slot.lost = false;
  const std::span<std::byte> stamped = make_room(slot.event, event.size());
  std::memcpy(stamped.data(), event.data(), event.size());
  number({.topic = entry}, stamped);
}

void Pipeline::publish_unnumbered(std::string_view topic, std::string_view event) {
  zmq::message_t name(topic.data(), topic.size());
  zmq::message_t stamped(event.size() + wire::stamp_bytes);
  std::memcpy(stamped.data(), event.data(), event.size());
  wire::write_stamp({.stream = state_.stream, .position = state_.published_position(), .received_ns = now_()},
                    stamp_of({stamped.data<std::byte>(), stamped.size()}));
  sink_.publish(name, stamped);
}

// ── admit ────────────────────────────────────────────────────────────────────────────────────────────────

Refusal Pipeline::admit(std::string_view topic, const Origin& from, Admitted& admitted) {
  const wire::ScanResult scan = wire::scan_event(bytes_of(from.message));
  if (scan.fault != wire::EventFault::none) {
    const Refusal refusal = refusal_of(scan.fault);
    refuse(refusal, topic, wire::describe(scan, from.message.size()), &from);
    return refusal;
  }
  const Refusal found = check(topic, from, admitted);
  admitted.clears_value = scan.event.payload == wire::Payload::none;
  admitted.lost = scan.event.lost;
  return follow(scan.event, found, topic, admitted, from);
}

/// Events of one topic come in runs, so the topic is often the last one's, and the lookup is saved.
TopicEntry* Pipeline::find_topic(std::string_view name) {
  if (latest_topic_ != nullptr && latest_topic_->name == name) return latest_topic_;
  TopicEntry* const entry = state_.topics.find(name);
  if (entry != nullptr) latest_topic_ = entry;
  return entry;
}

Refusal Pipeline::check(std::string_view topic, const Origin& from, Admitted& admitted) {
  // The name of a known topic was checked when it was added.
  if (admitted.topic == nullptr) admitted.topic = find_topic(topic);
  if (admitted.topic == nullptr) {
    if (const TopicFault fault = check_topic(topic); fault != TopicFault::none) {
      refuse(Refusal::bad_topic, topic, backplane::describe(fault, topic), &from);
      return Refusal::bad_topic;
    }
  }
  if (is_system_topic(topic)) {
    refuse(Refusal::reserved_topic, topic, "$SYS topics are reserved for the broker", &from);
    return Refusal::reserved_topic;
  }
  if (!permit(topic, from)) return Refusal::not_permitted;
  if (const std::size_t event_bytes = from.message.size(); event_bytes > state_.max_event_bytes) {
    refuse(Refusal::too_large, topic,
           fmt::format("expected at most {} bytes, got {}", state_.max_event_bytes, event_bytes), &from);
    return Refusal::too_large;
  }
  return Refusal::none;
}

bool Pipeline::permit(std::string_view topic, const Origin& from) {
  if (!access_.has_policy()) return true;
  if (access_.may_publish(from.user, topic)) {
    ++state_.counters.publish_permitted_total;
    return true;
  }
  refuse(Refusal::not_permitted, topic, "the user may not publish this topic", &from);
  return false;
}

/// Tracks the session's sequence, even for events that are refused for another reason (`found`):
/// AdmittedReply reports both. Then looks up or adds the topic of an event that is not refused.
Refusal Pipeline::follow(const wire::EventView& event, Refusal found, std::string_view topic,
                         Admitted& admitted, const Origin& from) {
  SessionEntry* session = nullptr;
  bool is_new = false;
  Peer peer{};
  if (event.sequence != 0 && (!access_.has_policy() || from.user != nullptr)) {
    session = &state_.sessions.use(event.source, event.session, is_new);
    if (!claim(*session, from.user, found == Refusal::none, is_new)) {
      if (found != Refusal::none) return found;
      refuse(Refusal::wrong_user, topic, "the session belongs to another user", &from);
      return Refusal::wrong_user;
    }
    peer = peer_of(from.message);
    if (!is_new && peer != session->peer && is_forged(*session, event, peer)) {
      if (found != Refusal::none) return found;
      refuse(Refusal::sequence_jump, topic,
             fmt::format("sequence {} of a session that is at {}, by another connection than the session's",
                         event.sequence, session->sequence),
             &from);
      return Refusal::sequence_jump;
    }
    if (!is_new && is_after_missing(*session, event)) {
      if (found != Refusal::none) return found;
      refuse(Refusal::sequence_jump, topic,
             fmt::format("sequence {} follows {}, and the session is at {}", event.sequence,
                         event.after_sequence, session->sequence),
             &from);
      return Refusal::sequence_jump;
    }
    if (found == Refusal::none && event.sequence <= session->sequence) {
      refuse(Refusal::repeat, topic, "duplicate: this sequence was admitted before", &from);
      return Refusal::repeat;
    }
  }
  if (found == Refusal::none && admitted.topic == nullptr) {
    admitted.topic = state_.topics.find_or_add(topic);
    if (admitted.topic == nullptr) {
      found = Refusal::topics_full;
      refuse(found, topic, "limit of topics reached (max_topics)", &from);
    }
  }
  if (session == nullptr) return found;

  const std::uint64_t seen = std::max(session->sequence, session->refused_sequence);
  // A session that is new here may have begun at another broker: its first number proves no loss. Neither do
  // numbers that the session does not use.
  const bool counts = event.after_sequence == 0;
  if (!is_new && counts && event.sequence > seen) count_lost(event.sequence - seen - 1);
  if (session->connections == 0 || peer != session->peer) change_connection(*session, peer, from.message);
  if (found == Refusal::none) {
    session->sequence = event.sequence;
    admitted.user = access_.name_of(session->user);
  } else {
    session->refused_sequence = std::max(session->refused_sequence, event.sequence);
    session->refused_reason = static_cast<std::uint8_t>(found);
    ++session->refused;
  }
  // Whoever sends refused events only cannot fill the table.
  if (session->sequence == 0) state_.sessions.evict_first();
  return found;
}

/// A session belongs to the user of its first event that is admitted. Every subscriber knows the sources and
/// sessions of events: a user whose events are refused cannot claim one, nor change what the broker knows of
/// one that it has restored from a store that does not know its user.
/// @returns whether the event may change the session
bool Pipeline::claim(SessionEntry& session, const policy::User* user, bool admits, bool& is_new) const {
  const UserNumber number = access_.number_of(user);
  if (session.user == number) return true;  // always, without a policy
  if (!admits) {
    // A new session has events of one user only, until one is admitted.
    if (session.user != no_user || session.sequence > 0) return false;
  } else if (session.user != no_user) {
    if (session.sequence > 0) return false;
    session = {};
    is_new = true;
  }
  session.user = number;
  return true;
}

/// Every subscriber knows the sources and sessions of events, and can send a sequence that makes the
/// session's next events look like duplicates. A publisher resends after a reconnect what is unconfirmed, so
/// its sequences do not jump. One that does not resend loses events, but then its earlier connection has
/// ended. A connection within the process, which has no peer, does not end before the process does.
bool Pipeline::is_forged(const SessionEntry& session, const wire::EventView& event, Peer peer) const {
  const std::uint64_t seen = std::max(session.sequence, session.refused_sequence);
  const std::uint64_t sequence = event.sequence;
  if (sequence <= seen || sequence - seen <= sequence_jump_max) return false;
  if (sequence - seen > sequence_loss_max && event.after_sequence == 0) return true;
  const bool is_open = session.socket.is_open() || (session.connections > 0 && session.peer == Peer{});
  return !session.has_come_by(peer) && is_open;
}

/// A session whose sequences do not count by one names the one before in each event. If that one has not
/// arrived, its publisher resends both: nothing of such a session can be left out.
bool Pipeline::is_after_missing(const SessionEntry& session, const wire::EventView& event) const {
  return event.after_sequence > std::max(session.sequence, session.refused_sequence);
}

/// A publisher may send any sequence: the counter saturates instead of overflowing.
void Pipeline::count_lost(std::uint64_t events) {
  std::uint64_t& lost = state_.counters.lost_before_total;
  lost += std::min(events, std::numeric_limits<std::uint64_t>::max() - lost);
}

void Pipeline::refuse(Refusal refusal, std::string_view topic, std::string_view detail, const Origin* from) {
  ++state_.counters.rejected_total[static_cast<std::size_t>(refusal)];
  // A flood of other refusals does not suppress these lines.
  const bool is_permission = refusal == Refusal::not_permitted || refusal == Refusal::wrong_user;
  log::RateLimit& lines = is_permission ? permission_lines_ : refusal_lines_;
  if (!lines.allow(log::RateLimit::Clock::now())) return;
  log::warning("{}: refused an event{} on \"{}\": {}: {}{}", state_.name,
               from == nullptr ? std::string() : describe(*from), topic.substr(0, topic_bytes_max),
               name(refusal), detail,
               lines.suppressed() == 0
                   ? std::string()
                   : fmt::format(" ({} more refusals since the last line)", lines.suppressed()));
}

std::string Pipeline::describe(const Origin& from) {
  if (!access_.has_policy()) return {};
  const Sender sender = access_.sender_of(from.message);
  const std::string& name = from.user != nullptr ? from.user->name : sender.name;
  return fmt::format(" of {} from {}", name.empty() ? "nobody" : name,
                     sender.address.empty() ? "this machine" : sender.address);
}

// ── stamp ────────────────────────────────────────────────────────────────────────────────────────────────

// The next slot. It is in use from when its event is numbered.
Pipeline::InFlight& Pipeline::next_in_flight() {
  const std::size_t used = state_.unpublished.size();
  if (used == in_flight_.size()) {
    std::rotate(in_flight_.begin(), in_flight_.begin() + static_cast<std::ptrdiff_t>(first_in_flight_),
                in_flight_.end());
    first_in_flight_ = 0;
    in_flight_.resize(2 * used);
  }
  return in_flight_[(first_in_flight_ + used) & (in_flight_.size() - 1)];
}

void Pipeline::number(const Admitted& admitted, std::span<std::byte> stamped) {
  TopicEntry& entry = *admitted.topic;
  const std::int64_t received_ns = batch_time();
  // Filled in place: a copy would read larger pieces than were written, which stalls the processor.
  HistoryAppend& append = state_.unpublished.emplace_back();
  append.topic = entry.name;
  append.event = stamped;
  append.clears_value = admitted.clears_value;
  append.topic_mark = &entry.store_mark;
  append.user = admitted.user;
  wire::Stamp& stamp = append.stamp;
  stamp.stream = state_.stream;
  stamp.position = ++state_.position;
  stamp.offset = ++entry.offset;
  stamp.previous = entry.position;
  stamp.received_ns = received_ns;
  entry.position = stamp.position;
  entry.received_ns = received_ns;
  entry.bytes += stamped.size();
  pending_bytes_ += stamped.size();
  state_.topics.touched(entry);
  wire::write_stamp(stamp, stamp_of(stamped));
}

/// The clock is read once per batch: a batch is received within a fraction of a millisecond.
std::int64_t Pipeline::batch_time() {
  if (state_.unpublished.size() == writing_) batch_time_ns_ = now_();
  return batch_time_ns_;
}

// ── remember, publish, count ─────────────────────────────────────────────────────────────────────────────

bool Pipeline::flush() {
  const bool accepted = remember();
  // Always, because the store has news until this is called.
  const std::uint64_t written = state_.history->progress().written;
  while (!batches_.empty() && batches_.front().ticket <= written) publish_first_batch();
  return accepted && pending() < pending_events_max && pending_bytes_ < pending_bytes_max;
}

bool Pipeline::remember() {
  const std::size_t events = pending() - writing_;
  if (events == 0) return true;
  const HistoryStore::Ticket ticket = state_.history->append(state_.unpublished.last(events));
  // What a failed store does not have is not published, or its numbers would be used again. The broker ends.
  if (ticket.result != HistoryStore::Accepted::accepted) return false;
  batches_.push_back({ticket.number, events});
  writing_ += events;
  return true;
}

void Pipeline::publish_first_batch() {
  const Batch batch = batches_.front();
  const std::span<const HistoryAppend> events = state_.unpublished.all().first(batch.events);
  for (const HistoryAppend& event : events) {
    InFlight& slot = in_flight_[first_in_flight_];
    first_in_flight_ = (first_in_flight_ + 1) & (in_flight_.size() - 1);
    const std::size_t bytes = event.event.size();
    // Readers see the loss by the offsets, and read it from history in its place.
    if (!slot.lost) sink_.publish(slot.topic, slot.event);
    pending_bytes_ -= bytes;
    if (slot.system) {
      ++state_.counters.system_published_total;
    } else {
      ++state_.counters.published_total;
      state_.counters.published_bytes_total += bytes;
    }
  }
  state_.unpublished.pop_front(batch.events);
  writing_ -= batch.events;
  batches_.pop_front();
  state_.last_ticket = std::max(state_.last_ticket, batch.ticket);
}

}  // namespace backplane::broker
