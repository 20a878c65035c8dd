#include "broker/log/committed_batch.hpp"

#include <span>

#include "broker/state/participants.hpp"
#include "broker/store/bytes.hpp"
#include "core/topic/topic.hpp"

namespace backplane::broker {

bool CommittedBatch::next(LogEntry& entry) {
  BatchItem item;
  while (!damaged_ && reader_.next(item)) {
    entry = LogEntry{};
    entry.user = user_;
    entry.peer = peer_;
    entry.topic = item.name;
    entry.bytes = std::as_bytes(std::span(item.body));
    entry.has_session = item.has_session;
    switch (item.kind) {
      case BatchItemKind::join:
      case BatchItemKind::leave:
        continue;  // not for the state machine
      case BatchItemKind::from: {
        store::ByteReader in(item.body);
        user_ = item.name.empty() ? no_user : users_->number_of_name(item.name);
        peer_ = Peer{in.get<std::uint64_t>()};
        continue;
      }
      case BatchItemKind::event:
        damaged_ = !read_event(item, entry);
        return !damaged_;
      case BatchItemKind::refused:
        damaged_ = !read_refused(item, entry);
        return !damaged_;
      case BatchItemKind::types:
        entry.kind = LogEntry::Kind::types;
        return true;
      case BatchItemKind::source:
        damaged_ = !read_source(item, entry);
        return !damaged_;
    }
  }
  damaged_ = damaged_ || reader_.is_damaged();
  return false;
}

/// No broker appends events that it would refuse itself: then this is no batch of ours.
bool CommittedBatch::read_event(const BatchItem& item, LogEntry& entry) {
  scan_ = wire::scan_event(entry.bytes);
  if (scan_.fault != wire::EventFault::none) return false;
  if (check_topic(item.name) != TopicFault::none || is_system_topic(item.name)) return false;
  entry.view = &scan_.event;
  return !entry.has_session || scan_.event.sequence != 0;
}

bool CommittedBatch::read_refused(const BatchItem& item, LogEntry& entry) {
  store::ByteReader in(item.body);
  entry.kind = LogEntry::Kind::refused;
  scan_.event = wire::EventView{};
  scan_.event.session = in.get<std::uint64_t>();
  const auto first = in.get<std::uint64_t>();
  scan_.event.sequence = in.get<std::uint64_t>();
  scan_.event.after_sequence = in.get<std::uint64_t>();
  const auto reason = in.get<std::uint8_t>();
  scan_.event.source = in.take(in.left());
  if (!in.ok() || reason == 0 || reason >= refusal_count || first == 0 || first > scan_.event.sequence) {
    return false;
  }
  if (scan_.event.after_sequence != 0 && first != scan_.event.sequence) return false;
  entry.refusals = scan_.event.sequence - first + 1;
  entry.refused = static_cast<Refusal>(reason);
  entry.topic = {};
  entry.bytes = {};
  entry.view = &scan_.event;
  return true;
}

bool CommittedBatch::read_source(const BatchItem& item, LogEntry& entry) {
  store::ByteReader in(item.body);
  entry.kind = LogEntry::Kind::source;
  source_.session = in.get<std::uint64_t>();
  source_.up = in.get<std::uint8_t>() != 0;
  source_.owner = in.get<std::uint64_t>();
  if (source_.owner == 0) source_.owner = reader_.header().incarnation;
  entry.source = &source_;
  entry.bytes = std::as_bytes(std::span(in.take(in.left())));
  return in.ok() && item.name.starts_with(source_topic_prefix) &&
         check_topic(item.name) == TopicFault::none &&
         wire::scan_event(entry.bytes).fault == wire::EventFault::none;
}

}  // namespace backplane::broker
