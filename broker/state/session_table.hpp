#pragma once
// How far each publisher's session has come.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace backplane::broker {

/// What the broker knows of one (source, session).
struct SessionEntry {
  std::uint64_t sequence{};          ///< highest admitted
  std::uint64_t refused_sequence{};  ///< highest refused (not counting repeats)
  std::uint64_t refused{};           ///< events refused (not counting repeats)
  std::uint8_t refused_reason{};     ///< the caller's code of the last refusal
};

/// Follows sequences per (source, session) in bounded memory: beyond `sessions_max` the least recently
/// used are forgotten, and counted. Lives on the loop thread. Looking up a known session allocates nothing.
class SessionTable {
 public:
  explicit SessionTable(std::size_t sessions_max);
  ~SessionTable();
  SessionTable(const SessionTable&) = delete;
  SessionTable& operator=(const SessionTable&) = delete;

  /// The session's entry, made if it is new (`is_new` then says so), and now the most recently used. Valid
  /// until the next call.
  [[nodiscard]] SessionEntry& use(std::string_view source, std::uint64_t session, bool& is_new);
  /// Without using it. @returns nullptr where it is not known.
  [[nodiscard]] const SessionEntry* find(std::string_view source, std::uint64_t session) const;

  [[nodiscard]] std::size_t size() const noexcept;
  /// Sessions forgotten for the bound: their repeats can no longer be told.
  [[nodiscard]] std::uint64_t evicted() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
