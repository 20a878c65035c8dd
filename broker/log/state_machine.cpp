#include "broker/log/state_machine.hpp"

#include <algorithm>
#include <string>

#include "core/wire/stamp.hpp"

namespace backplane::broker {
namespace {

// A session's sequence may jump this far on another connection than before, and this far if the connection
// before has ended: the first is more than our publishers ever skip, the second more than any can lose.
constexpr std::uint64_t sequence_jump_max = 1024;
constexpr std::uint64_t sequence_loss_max = std::uint64_t{1} << 32;

// AdmittedReply tells the publisher by how many connections its session's events came: if they are more than
// its own, it shares its session with another program. After a publisher has reconnected, events of the
// connections before may still arrive. While the store is full, these may be many: nothing is read, and
// publishers take that for a broken connection.
constexpr std::size_t earlier_peers_max = 1024;
void change_connection(SessionEntry& session, Peer peer, zmq::message_t* message) {
  if (session.connections == 0 || !session.has_come_by(peer)) ++session.connections;
  if (session.connections > 1 && !session.has_come_by(session.peer)) {
    if (session.earlier_peers.size() >= earlier_peers_max) {
      session.earlier_peers.erase(session.earlier_peers.begin());
    }
    session.earlier_peers.push_back(session.peer);
  }
  session.peer = peer;
  session.socket = message == nullptr ? PeerSocket() : PeerSocket(*message);
}

/// Every subscriber knows the sources and sessions of events, and can send a sequence that makes the
/// session's next events look like duplicates. A publisher resends after a reconnect what is unconfirmed, so
/// its sequences do not jump. One that does not resend loses events, but then its earlier connection has
/// ended. A connection within the process, which has no peer, does not end before the process does.
bool is_forged(const SessionEntry& session, const wire::EventView& event, Peer peer) {
  const std::uint64_t seen = std::max(session.sequence, session.refused_sequence);
  const std::uint64_t sequence = event.sequence;
  if (sequence <= seen || sequence - seen <= sequence_jump_max) return false;
  if (sequence - seen > sequence_loss_max && event.after_sequence == 0) return true;
  const bool is_open = session.socket.is_open() || (session.connections > 0 && session.peer == Peer{});
  return !session.has_come_by(peer) && is_open;
}

/// A session whose sequences do not count by one names the one before in each event. If that one has not
/// arrived, its publisher resends both: nothing of such a session can be left out.
bool is_after_missing(const SessionEntry& session, const wire::EventView& event) {
  return event.after_sequence > std::max(session.sequence, session.refused_sequence);
}

// The place of the stamp: the last bytes of the event.
std::span<std::byte, wire::stamp_bytes> stamp_of(std::span<std::byte> stamped) {
  return stamped.last<wire::stamp_bytes>();
}

// Inline: it is called for every event, and fills the stamp in place.
inline void set_next(BackplaneState& state, wire::Stamp& stamp, const LogEntry& entry,
                     std::size_t stamped_bytes, std::int64_t received_ns) {
  TopicEntry& topic = *entry.known;
  // The last of several lost events gets the position; the others have none.
  if (const std::uint64_t lost = entry.lost(); lost > 1) {
    topic.offset += lost - 1;
    state.offsets_without_position += lost - 1;
  }
  stamp.stream = state.stream;
  stamp.position = ++state.position;
  stamp.offset = ++topic.offset;
  stamp.previous = topic.position;
  stamp.received_ns = received_ns;
  topic.position = stamp.position;
  topic.received_ns = received_ns;
  topic.bytes += stamped_bytes;
  state.topics.touched(topic);
}

}  // namespace

TopicEntry* StateMachine::find_topic(std::string_view name) {
  if (latest_topic_ != nullptr && latest_topic_->name == name) return latest_topic_;
  TopicEntry* const entry = state_.topics.find(name);
  if (entry != nullptr) latest_topic_ = entry;
  return entry;
}

StateMachine::Outcome StateMachine::admit(LogEntry& entry) {
  if (entry.source != nullptr) return change_source(entry);
  if (!entry.has_session) return {0, find_or_add_topic(entry)};

  const wire::EventView& event = *entry.view;
  const bool admits = entry.refused == Refusal::none;
  bool is_new = false;
  SessionEntry& session = state_.sessions.use(event.source, event.session, is_new);
  if (!claim(session, entry.user, admits, is_new)) return {0, admits ? Refusal::wrong_user : entry.refused};
  const Peer peer = entry.message == nullptr ? entry.peer : peer_of(*entry.message);
  if (entry.message != nullptr && !is_new && peer != session.peer && is_forged(session, event, peer)) {
    return {0, admits ? Refusal::sequence_jump : entry.refused};
  }
  if (!is_new && is_after_missing(session, event)) {
    return {0, admits ? Refusal::sequence_jump : entry.refused};
  }
  if (admits && event.sequence <= session.sequence) return {0, Refusal::repeat};
  const Refusal found = admits ? find_or_add_topic(entry) : entry.refused;

  Outcome outcome{0, found};
  const std::uint64_t seen = std::max(session.sequence, session.refused_sequence);
  // A session that is new here may have begun at another broker: its first number proves no loss. Neither do
  // numbers that the session does not use.
  const bool counts = event.after_sequence == 0;
  const std::uint64_t first = event.sequence - (entry.refusals - 1);
  if (!is_new && counts && first > seen) outcome.lost = first - seen - 1;
  if (session.connections == 0 || peer != session.peer) change_connection(session, peer, entry.message);
  if (found == Refusal::none) {
    session.sequence = event.sequence;
  } else {
    session.refused_sequence = std::max(session.refused_sequence, event.sequence);
    session.refused_reason = static_cast<std::uint8_t>(found);
    session.refused += entry.refusals;
  }
  // A publisher that sends refused events only cannot fill the table.
  if (session.sequence == 0) state_.sessions.evict_first();
  return outcome;
}

/// A publisher that moves to another broker is up at that one before it is silent at the one that it has
/// left. Several brokers may announce that the publishers of a broker that is gone are down.
StateMachine::Outcome StateMachine::change_source(LogEntry& entry) {
  const SourceChange& change = *entry.source;
  const auto found = state_.sources.find(entry.topic);
  const KnownSource known = found == state_.sources.end() ? KnownSource{} : found->second;
  const bool is_same = known.up && known.session == change.session;
  if (!change.up && (!is_same || known.owner != change.owner)) return {.changes_nothing = true};
  if (const Refusal refusal = find_or_add_topic(entry); refusal != Refusal::none) return {0, refusal};
  state_.sources[std::string(entry.topic)] = {change.session, change.owner, change.up};
  return {.changes_nothing = change.up && is_same};
}

Refusal StateMachine::find_or_add_topic(LogEntry& entry) {
  if (entry.known != nullptr) return Refusal::none;
  switch (entry.kind) {
    case LogEntry::Kind::event:
    case LogEntry::Kind::raw:
      entry.known = state_.topics.find_or_add(entry.topic);
      break;
    case LogEntry::Kind::refused:
      return entry.refused;
    case LogEntry::Kind::types:
      CHECK(false, "types are no event");
      break;
    case LogEntry::Kind::system:
      entry.known = &state_.topics.find_or_add_own(entry.topic);
      break;
    case LogEntry::Kind::source:
      entry.known = state_.topics.find(entry.topic);
      if (entry.known != nullptr || state_.source_topics >= state_.source_topics_max()) break;
      entry.known = &state_.topics.find_or_add_own(entry.topic);
      ++state_.source_topics;
      break;
  }
  return entry.known == nullptr ? Refusal::topics_full : Refusal::none;
}

/// A session belongs to the user of its first event that is admitted. Every subscriber knows the sources and
/// sessions of events: a user whose events are refused cannot claim one, nor change what the broker knows of
/// one that it has restored from a store that does not know its user.
/// @returns whether the event may change the session
bool StateMachine::claim(SessionEntry& session, UserNumber user, bool admits, bool& is_new) const {
  if (session.user == user) return true;  // always, without a policy
  if (!admits) {
    // A new session has events of one user only, until one is admitted.
    if (session.user != no_user || session.sequence > 0) return false;
  } else if (session.user != no_user) {
    if (session.sequence > 0) return false;
    session = {};
    is_new = true;
  }
  session.user = user;
  return true;
}

void StateMachine::number(const LogEntry& entry, std::string_view user, std::span<std::byte> stamped,
                          std::int64_t received_ns) {
  TopicEntry& topic = *entry.known;
  // Filled in place: a copy would read larger pieces than were written, which stalls the processor.
  HistoryAppend& append = state_.unpublished.emplace_back();
  append.topic = topic.name;
  append.event = stamped;
  append.clears_value = entry.kind == LogEntry::Kind::event && entry.view->payload == wire::Payload::none;
  append.topic_mark = &topic.store_mark;
  append.user = user;
  set_next(state_, append.stamp, entry, stamped.size(), received_ns);
  wire::write_stamp(append.stamp, stamp_of(stamped));
}

void StateMachine::number_again(const LogEntry& entry, std::int64_t received_ns) {
  wire::Stamp stamp;
  set_next(state_, stamp, entry, entry.event_bytes() + wire::stamp_bytes, received_ns);
}

std::uint64_t StateMachine::sequence_of(const LogEntry& entry) const {
  const SessionEntry* const session =
      entry.has_session ? state_.sessions.find(entry.view->source, entry.view->session) : nullptr;
  return session == nullptr ? 0 : session->sequence;
}

}  // namespace backplane::broker
