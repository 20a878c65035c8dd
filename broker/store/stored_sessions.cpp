#include "broker/store/stored_sessions.hpp"

#include <algorithm>

#include "core/wire/scan.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::broker::store {

void StoredSessions::use_event(std::span<const std::byte> event) {
  const wire::ScanResult scanned = wire::scan_event(wire::without_stamp(event));
  if (scanned.fault != wire::EventFault::none) return;  // the broker admits no such events
  use(scanned.event.source, scanned.event.session, scanned.event.sequence);
}

void StoredSessions::use(std::string_view source, std::uint64_t session, std::uint64_t sequence) {
  if (sequence == 0 || sessions_max_ == 0) return;
  // Most events come from the session of the event before.
  if (sessions_.empty() || sessions_.back().session != session || sessions_.back().source != source) {
    const auto found = index_.find({source, session});
    if (found != index_.end()) {
      sessions_.splice(sessions_.end(), sessions_, found->second);
    } else {
      sessions_.push_back({std::string(source), session, 0});
      index_.emplace(Key{sessions_.back().source, session}, std::prev(sessions_.end()));
      if (sessions_.size() > sessions_max_) {
        index_.erase({sessions_.front().source, sessions_.front().session});
        sessions_.pop_front();
      }
    }
  }
  sessions_.back().sequence = std::max(sessions_.back().sequence, sequence);
}

std::vector<HistoryStore::Session> StoredSessions::all() const {
  return {sessions_.begin(), sessions_.end()};
}

}  // namespace backplane::broker::store
