#pragma once
// The last sequence stored of each publisher's session.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/state/history_store.hpp"

namespace backplane::broker::store {

/// The sessions, least recently used first; above `sessions_max`, the first ones are evicted, as in the
/// broker's own table. Not thread-safe.
class StoredSessions {
 public:
  explicit StoredSessions(std::size_t sessions_max) : sessions_max_(sessions_max) {}

  /// Records that an event, stamped, was stored.
  void use_event(std::span<const std::byte> event);
  /// Records that `sequence` of a session was stored. 0: its events are not numbered, and it is no session.
  void use(std::string_view source, std::uint64_t session, std::uint64_t sequence);
  [[nodiscard]] std::vector<HistoryStore::Session> all() const;

 private:
  using Session = HistoryStore::Session;
  struct Key {
    std::string_view source;
    std::uint64_t session{};
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept {
      return std::hash<std::string_view>{}(key.source) ^ (key.session * 0x9e3779b97f4a7c15u);
    }
  };

  std::size_t sessions_max_;
  std::list<Session> sessions_;                                        // least recently used first
  std::unordered_map<Key, std::list<Session>::iterator, Hash> index_;  // the keys point into the list
};

}  // namespace backplane::broker::store
