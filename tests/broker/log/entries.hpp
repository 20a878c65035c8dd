#pragma once
// Entries for a commit log, and events to make them of.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "backplane/v1/event.pb.h"
#include "broker/log/log_entry.hpp"
#include "core/wire/scan.hpp"

namespace backplane::broker::testing {

/// `text` empty: no payload.
inline std::string event_bytes(const std::string& source, std::uint64_t session, std::uint64_t sequence,
                               const std::string& text) {
  v1::Event event;
  event.set_source(source);
  event.set_session(session);
  event.set_sequence(sequence);
  if (!text.empty()) event.set_text(text);
  return event.SerializeAsString();
}

/// Of a session whose sequences do not count by one. `lost` > 0: it stands for that many lost events.
inline std::string sparse_event_bytes(const std::string& source, std::uint64_t session,
                                      std::uint64_t sequence, std::uint64_t after, std::uint64_t lost) {
  v1::Event event;
  event.set_source(source);
  event.set_session(session);
  event.set_sequence(sequence);
  event.set_after_sequence(after);
  if (lost > 0) event.set_lost(lost);
  if (lost == 0) event.set_text("sparse");
  return event.SerializeAsString();
}

/// An entry, and what its views point to.
class MadeEntry {
 public:
  MadeEntry(LogEntry::Kind kind, std::string topic, std::string bytes)
      : topic_(std::move(topic)), bytes_(std::move(bytes)) {
    entry.kind = kind;
    entry.topic = topic_;
    entry.bytes = std::as_bytes(std::span(bytes_));
    if (kind == LogEntry::Kind::source) return;
    scan_ = wire::scan_event(entry.bytes);
    entry.view = &scan_.event;
    entry.has_session = scan_.event.sequence != 0;
  }
  /// Of a source.
  MadeEntry(std::string topic, const SourceChange& change)
      : MadeEntry(LogEntry::Kind::source, std::move(topic),
                  event_bytes("broker@test", 0, 0, change.up ? "up" : "down")) {
    change_ = change;
    entry.source = &change_;
  }
  MadeEntry(const MadeEntry&) = delete;
  MadeEntry& operator=(const MadeEntry&) = delete;

  LogEntry entry;

 private:
  std::string topic_;
  std::string bytes_;
  wire::ScanResult scan_;
  SourceChange change_;
};

}  // namespace backplane::broker::testing
