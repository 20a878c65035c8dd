#pragma once
// Tracks the sequences of publisher sessions.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "broker/ingress/peer.hpp"
#include "broker/state/user_number.hpp"

namespace backplane::broker {

/// What the broker knows of one (source, session).
struct SessionEntry {
  std::uint64_t sequence{};          ///< highest admitted
  std::uint64_t refused_sequence{};  ///< highest refused (duplicates not counted)
  std::uint64_t refused{};           ///< events refused (duplicates not counted)
  std::uint8_t refused_reason{};     ///< the caller's code for the last refusal
  UserNumber user{no_user};          ///< whom it belongs to
  std::uint32_t connections{};       ///< by which events came (duplicates not counted)
  Peer peer{};                       ///< the connection of the last of these events
  std::vector<Peer> earlier_peers;   ///< those before: the latest
  PeerSocket socket;                 ///< of `peer`

  [[nodiscard]] bool has_come_by(Peer connection) const {
    return std::find(earlier_peers.begin(), earlier_peers.end(), connection) != earlier_peers.end();
  }
};

/// Tracks sequences per (source, session) in bounded memory: above `sessions_max`, the least recently used
/// sessions are evicted and counted. Lives on the loop thread. Looking up a known session allocates nothing.
class SessionTable {
 public:
  explicit SessionTable(std::size_t sessions_max);
  ~SessionTable();
  SessionTable(const SessionTable&) = delete;
  SessionTable& operator=(const SessionTable&) = delete;

  /// The session's entry, which becomes the most recently used. If the session is new, creates it and sets
  /// `is_new`. Valid until the next call.
  [[nodiscard]] SessionEntry& use(std::string_view source, std::uint64_t session, bool& is_new);
  /// Makes the session that was used last the first one to be evicted, until it is used again.
  void evict_first();
  /// The session's entry, without marking it as used. @returns nullptr if it is unknown.
  [[nodiscard]] const SessionEntry* find(std::string_view source, std::uint64_t session) const;

  using See = std::function<void(std::string_view source, std::uint64_t session, const SessionEntry& entry)>;
  /// All sessions, the first one to be evicted first. use() in this order restores the table.
  void visit(const See& see) const;

  [[nodiscard]] std::size_t size() const noexcept;
  /// Sessions evicted because of the limit: their duplicates can no longer be detected.
  [[nodiscard]] std::uint64_t evicted() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
