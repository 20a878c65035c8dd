#include "broker/store/stored_sessions.hpp"

#include <algorithm>

#include "core/wire/scan.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::broker::store {

std::optional<StoredSessions::Use> StoredSessions::use_of(std::span<const std::byte> event,
                                                          std::string_view user) {
  const wire::ScanResult scanned = wire::scan_event(wire::without_stamp(event));
  if (scanned.fault != wire::EventFault::none) return {};  // the broker admits no such events
  // Events with the sequence 0 are not numbered, and belong to no session.
  if (scanned.event.sequence == 0) return {};
  return Use{{scanned.event.source, scanned.event.session}, scanned.event.sequence, user};
}

void StoredSessions::stored(const Use& use) {
  if (sessions_max_ == 0) return;
  Session& session = find_or_add(use.key);
  session.sequence = std::max(session.sequence, use.sequence);
  if (!use.user.empty()) session.user = use.user;
}

bool StoredSessions::has_new_user(const Use& use) const {
  if (use.user.empty() || sessions_max_ == 0) return false;
  const auto known = index_.find(use.key);
  return known == index_.end() || known->second->user != use.user;
}

void StoredSessions::restore(const HistoryStore::Session& session) {
  if (sessions_max_ == 0) return;
  Session& known = find_or_add({session.source, session.session});
  known.sequence = std::max(known.sequence, session.sequence);
  known.user = session.user;
}

// The session, which becomes the most recently used.
HistoryStore::Session& StoredSessions::find_or_add(const Key& key) {
  // Most events come from the session of the event before.
  if (!sessions_.empty() && sessions_.back().session == key.session && sessions_.back().source == key.source)
    return sessions_.back();
  const auto found = index_.find(key);
  if (found != index_.end()) {
    sessions_.splice(sessions_.end(), sessions_, found->second);
    return sessions_.back();
  }
  sessions_.push_back({.source = std::string(key.source), .session = key.session});
  index_.emplace(Key{sessions_.back().source, key.session}, std::prev(sessions_.end()));
  if (sessions_.size() > sessions_max_) {
    index_.erase({sessions_.front().source, sessions_.front().session});
    sessions_.pop_front();
  }
  return sessions_.back();
}

std::vector<HistoryStore::Session> StoredSessions::all() const {
  return {sessions_.begin(), sessions_.end()};
}

}  // namespace backplane::broker::store
