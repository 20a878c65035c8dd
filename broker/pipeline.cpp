// What happens to an event, from top to bottom, in two stages (docs/decisions/0030-commit-log.md):
//
//   take ──▶ check ──▶ commit log ──▶ admit ──▶ number, stamp ──▶ (batch) ──▶ flush: remember
//              └─▶ refuse                └─▶ refuse                ──▶ written? ──▶ publish ──▶ count
//
// The first stage, up to the log, needs no state. The second applies what the log has committed, in its order
// (StateMachine). With one broker, both run directly after each other. What is refused is counted under its
// reason, and logged at a limited rate.
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

// Allocates `frame` for an event of `event_bytes` and its stamp.
std::span<std::byte> make_room(zmq::message_t& frame, std::size_t event_bytes) {
  const std::size_t bytes = event_bytes + wire::stamp_bytes;
  frame.rebuild(bytes);
  return {frame.data<std::byte>(), bytes};
}

}  // namespace

Pipeline::Pipeline(BackplaneState& state, Access& access, EgressSink& sink, UnixClock now,
                   std::unique_ptr<CommitLog> log)
    : state_(state),
      access_(access),
      sink_(sink),
      now_(std::move(now)),
      log_(std::move(log)),
      machine_(state) {
  in_flight_.resize(1024);
  state_.unpublished.reserve(1024);
}

void Pipeline::take(zmq::message_t& topic, zmq::message_t& event, TopicEntry* known,
                    const policy::User* user) {
  ++state_.counters.received_total;
  const Origin from{event, user};
  LogEntry entry;
  entry.topic = topic.to_string_view();
  entry.bytes = bytes_of(event);
  const wire::ScanResult scan = wire::scan_event(entry.bytes);
  if (scan.fault != wire::EventFault::none) {
    return refuse(refusal_of(scan.fault), entry.topic, wire::describe(scan, event.size()), &from);
  }
  entry.view = &scan.event;
  entry.known = known;
  entry.message = &event;
  entry.has_session = scan.event.sequence != 0 && (!access_.has_policy() || user != nullptr);
  entry.user = access_.number_of(user);
  entry.refused = check(entry, from);
  if (entry.refused != Refusal::none) {
    entry.kind = LogEntry::Kind::refused;
    if (!entry.has_session) return;
  }
  commit(entry, &topic, &from);
}

void Pipeline::take_raw(zmq::message_t& topic, zmq::message_t& bytes, const policy::User* user) {
  ++state_.counters.received_total;
  const Origin from{bytes, user};
  LogEntry entry;
  entry.kind = LogEntry::Kind::raw;
  entry.topic = topic.to_string_view();
  entry.bytes = bytes_of(bytes);
  if (check(entry, from) == Refusal::none) commit(entry, &topic, &from);
}

void Pipeline::refuse_frames(std::size_t frames) {
  ++state_.counters.received_total;
  refuse(Refusal::wrong_frames, "", fmt::format("expected the two frames [topic][event], got {}", frames),
         nullptr);
}

void Pipeline::publish_system(std::string_view topic, std::string_view event) {
  if (log_->is_replicated()) return publish_unnumbered(topic, event);
  publish_own(LogEntry::Kind::system, topic, event, nullptr);
}

bool Pipeline::publish_source(std::string_view topic, std::string_view event, const SourceChange& change) {
  return publish_own(LogEntry::Kind::source, topic, event, &change) == Refusal::none;
}

Refusal Pipeline::publish_own(LogEntry::Kind kind, std::string_view topic, std::string_view event,
                              const SourceChange* change) {
  LogEntry entry;
  entry.kind = kind;
  // With one broker, Participants knows what changes.
  if (log_->is_replicated()) entry.source = change;
  entry.topic = topic;
  entry.bytes = std::as_bytes(std::span(event));
  return commit(entry, nullptr, nullptr);
}

void Pipeline::publish_unnumbered(std::string_view topic, std::string_view event) {
  zmq::message_t name(topic.data(), topic.size());
  zmq::message_t stamped(event.size() + wire::stamp_bytes);
  std::memcpy(stamped.data(), event.data(), event.size());
  wire::write_stamp({.stream = state_.stream, .position = state_.published_position(), .received_ns = now_()},
                    stamp_of({stamped.data<std::byte>(), stamped.size()}));
  sink_.publish(name, stamped);
}

// ── stage 1: check ───────────────────────────────────────────────────────────────────────────────────────

Refusal Pipeline::check(LogEntry& entry, const Origin& from) {
  // The name of a known topic was checked when it was added.
  if (entry.known == nullptr && entry.kind != LogEntry::Kind::raw) {
    entry.known = machine_.find_topic(entry.topic);
  }
  if (entry.known == nullptr) {
    if (const TopicFault fault = check_topic(entry.topic); fault != TopicFault::none) {
      refuse(Refusal::bad_topic, entry.topic, backplane::describe(fault, entry.topic), &from);
      return Refusal::bad_topic;
    }
  }
  if (is_system_topic(entry.topic)) {
    refuse(Refusal::reserved_topic, entry.topic, "$SYS topics are reserved for the broker", &from);
    return Refusal::reserved_topic;
  }
  if (!permit(entry.topic, from)) return Refusal::not_permitted;
  if (const std::size_t bytes = entry.event_bytes(); bytes > state_.max_event_bytes) {
    refuse(Refusal::too_large, entry.topic,
           fmt::format("expected at most {} bytes, got {}", state_.max_event_bytes, bytes), &from);
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

// ── stage 2: admit, stamp ────────────────────────────────────────────────────────────────────────────────

/// `topic`: the frame that the topic is in; it is moved from if the event is admitted. nullptr: none.
/// @returns why the event is refused, if that is known already
Refusal Pipeline::commit(LogEntry& entry, zmq::message_t* topic, const Origin* from) {
  if (log_->append(entry) == CommitLog::Appended::later) return Refusal::none;
  return apply(entry, topic, from);
}

Refusal Pipeline::apply(LogEntry& entry, zmq::message_t* topic, const Origin* from) {
  const StateMachine::Outcome outcome = machine_.admit(entry);
  if (outcome.lost > 0 && counts_) count_lost(outcome.lost);
  if (entry.refused != Refusal::none) return entry.refused;  // counted by stage 1
  if (outcome.refusal != Refusal::none) {
    if (counts_ && entry.kind == LogEntry::Kind::source) ++state_.counters.source_events_dropped_total;
    if (counts_ && entry.kind != LogEntry::Kind::source) refuse_committed(entry, outcome.refusal, from);
    return outcome.refusal;
  }

  if (outcome.changes_nothing) return Refusal::none;
  if (state_.position < stored_position_) {
    machine_.number_again(entry, batch_time());
    if (state_.position == stored_position_ && on_stored_position_) on_stored_position_();
    return Refusal::none;
  }

  // The event is never re-serialised: the publisher's bytes, then field 15.
  InFlight& slot = next_in_flight();
  slot.system = entry.kind == LogEntry::Kind::source || entry.kind == LogEntry::Kind::system;
  slot.lost = entry.lost() > 0;
  const std::size_t event_bytes = entry.event_bytes();
  const std::span<std::byte> stamped = make_room(slot.event, event_bytes);
  entry.write_event(stamped.first(event_bytes));
  const std::string_view user = entry.has_session ? access_.name_of(entry.user) : std::string_view{};
  machine_.number(entry, user, stamped, batch_time());
  pending_bytes_ += stamped.size();
  if (topic != nullptr) {
    slot.topic.swap(*topic);
  } else {
    slot.topic.rebuild(entry.topic.data(), entry.topic.size());
  }
  return Refusal::none;
}

/// Applies what a replicated log has committed, up to the limit of what the store writes.
void Pipeline::apply_committed() {
  log_->advance();
  while (has_capacity()) {
    CommittedBatch* const batch = log_->next();
    if (batch == nullptr) break;
    committed_ns_ = batch->received_ns();
    counts_ = batch->is_own();
    LogEntry entry;
    while (batch->next(entry)) {
      if (entry.kind == LogEntry::Kind::types) {
        if (on_types_) on_types_(entry.bytes, counts_);
        continue;
      }
      if (entry.kind == LogEntry::Kind::event) entry.known = machine_.find_topic(entry.topic);
      apply(entry, nullptr, nullptr);
    }
  }
  committed_ns_.reset();
  counts_ = true;
}

void Pipeline::refuse_committed(const LogEntry& entry, Refusal refusal, const Origin* from) {
  switch (refusal) {
    case Refusal::repeat:
      return refuse(refusal, entry.topic, "duplicate: this sequence was admitted before", from);
    case Refusal::topics_full:
      return refuse(refusal, entry.topic, "limit of topics reached (max_topics)", from);
    case Refusal::wrong_user:
      return refuse(refusal, entry.topic, "the session belongs to another user", from);
    case Refusal::sequence_jump: {
      const std::uint64_t session = machine_.sequence_of(entry);
      const wire::EventView& event = *entry.view;
      return refuse(
          refusal, entry.topic,
          event.after_sequence > session
              ? fmt::format("sequence {} follows {}, and the session is at {}", event.sequence,
                            event.after_sequence, session)
              : fmt::format(
                    "sequence {} of a session that is at {}, by another connection than the session's",
                    event.sequence, session),
          from);
    }
    default:
      return refuse(refusal, entry.topic, "", from);
  }
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

/// The clock is read once per batch: a batch is received within a fraction of a millisecond.
std::int64_t Pipeline::batch_time() {
  if (committed_ns_) return *committed_ns_;
  if (state_.unpublished.size() == writing_) batch_time_ns_ = now_();
  return batch_time_ns_;
}

// ── remember, publish, count ─────────────────────────────────────────────────────────────────────────────

bool Pipeline::flush() {
  if (log_->is_replicated()) apply_committed();
  const bool accepted = remember();
  // Always, because the store has news until this is called.
  const std::uint64_t written = state_.history->progress().written;
  while (!batches_.empty() && batches_.front().ticket <= written) publish_first_batch();
  return accepted && has_capacity() && log_->has_room();
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
