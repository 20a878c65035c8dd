#pragma once
// Decisions of a policy, for a path that decides about every event.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/policy/policy.hpp"

namespace backplane::policy {

/// Remembers decisions per user, topic and action. Belongs to one thread. Owns a table of fixed size, of
/// about 270 bytes per entry: a decision that is not in it is made anew and replaces an older one. Topics are
/// compared entirely, so nobody can obtain a decision by a topic with the same hash.
class DecisionCache {
 public:
  static constexpr std::size_t default_entries = 16'384;

  /// @param entries  rounded up to a power of two
  explicit DecisionCache(std::shared_ptr<const Policy> policy, std::size_t entries = default_entries);

  [[nodiscard]] const Policy& policy() const noexcept { return *policy_; }

  /// As Policy::may_publish() and may_subscribe(), for a user of policy().
  [[nodiscard]] bool may_publish(const User& user, std::string_view topic) {
    return decide(user, topic, Action::publish);
  }
  [[nodiscard]] bool may_subscribe(const User& user, std::string_view topic) {
    return decide(user, topic, Action::subscribe);
  }

 private:
  enum class Action : std::uint8_t { publish, subscribe };
  static constexpr std::size_t ways = 4;

  struct Entry {
    std::uint64_t hash{};  ///< of the topic
    std::uint32_t user{};
    Action action{};
    std::uint8_t topic_bytes{};  ///< 0: the entry is empty
    bool permitted{};
    bool next_replaced{};  ///< whether it is the next of its set to be replaced
  };
  /// The entries that a topic can be in: one line of the processor's cache.
  struct alignas(64) Set {
    std::array<Entry, ways> entries;
  };
  static_assert(sizeof(Set) == 64);

  bool decide(const User& user, std::string_view topic, Action action);
  bool decide_anew(const User& user, std::string_view topic, Action action) const;

  std::shared_ptr<const Policy> policy_;
  std::vector<Set> sets_;
  std::unique_ptr<char[]> topics_;  ///< of each entry, topic_bytes_max + 1 bytes; read only if in use
};

}  // namespace backplane::policy
