#pragma once
// The last sequence stored of each publisher's session, and the session's user.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <optional>
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

  struct Key {
    std::string_view source;
    std::uint64_t session{};
    friend bool operator==(const Key&, const Key&) = default;
  };
  /// An event of a session.
  struct Use {
    Key key;
    std::uint64_t sequence{};
    std::string_view user{};  ///< to whom the session belongs; "" if that is not known
  };

  /// What an event, stamped, tells of its session; nothing if it has none. `source` points into the event.
  [[nodiscard]] static std::optional<Use> use_of(std::span<const std::byte> event,
                                                 std::string_view user = {});
  /// Records that an event is stored.
  void stored(const Use& use);
  /// Whether the user of an event that is to be stored is new for its session.
  [[nodiscard]] bool has_new_user(const Use& use) const;
  /// Records what is known of a session. `sequence` 0: none of its events is stored yet.
  void restore(const HistoryStore::Session& session);
  [[nodiscard]] std::vector<HistoryStore::Session> all() const;

 private:
  using Session = HistoryStore::Session;
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept {
      return std::hash<std::string_view>{}(key.source) ^ (key.session * 0x9e3779b97f4a7c15u);
    }
  };

  Session& find_or_add(const Key& key);

  std::size_t sessions_max_;
  std::list<Session> sessions_;                                        // least recently used first
  std::unordered_map<Key, std::list<Session>::iterator, Hash> index_;  // the keys point into the list
};

}  // namespace backplane::broker::store
