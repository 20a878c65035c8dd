#include "broker/log/log_entry.hpp"

#include <cstring>

#include "broker/ingress/raw_event.hpp"

namespace backplane::broker {

std::size_t LogEntry::event_bytes() const noexcept {
  return kind == Kind::raw ? raw_event_bytes(bytes.size()) : bytes.size();
}

void LogEntry::write_event(std::span<std::byte> out) const noexcept {
  if (kind == Kind::raw) return write_raw_event(bytes, out);
  if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
}

}  // namespace backplane::broker
