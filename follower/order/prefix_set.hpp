#pragma once
// The prefixes that a reader subscribes to, and where each became active.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/topic/string_hash.hpp"

namespace backplane::follower {

/// The subscribed prefixes, with their reference counts and the positions at which they became active.
/// Belongs to one thread.
class PrefixSet {
 public:
  /// Where a prefix became active: everything after `position` of `stream` is expected.
  struct Start {
    std::uint64_t stream{};
    std::uint64_t position{};
  };
  /// Identifies a prefix from its first add() to its last remove(). Added again, it gets another Ref.
  struct Ref {
    std::uint32_t slot{};
    std::uint32_t generation{};
  };

  /// @returns whether the prefix is new and must be subscribed to.
  bool add(std::string_view prefix, std::uint64_t ticket);
  /// @returns whether that was the last reference, and the prefix must be unsubscribed from.
  bool remove(std::string_view prefix);

  /// Prefixes added with a ticket up to this one are active from `start` on.
  void activate(std::uint64_t ticket, const Start& start);
  /// Prefixes that were active in `old_stream` are now active from `start` on, in another stream.
  void rebase(std::uint64_t old_stream, const Start& start);

  /// The prefix of `topic` that has been active for longest. None: the topic is not subscribed to.
  [[nodiscard]] std::optional<Ref> match(std::string_view topic) const;
  [[nodiscard]] bool is_current(const Ref& ref) const noexcept {
    return slots_[ref.slot].generation == ref.generation;
  }
  /// Nothing while it is not known to be active. `ref` must be current.
  [[nodiscard]] const std::optional<Start>& start(const Ref& ref) const { return slots_[ref.slot].start; }

  /// Patterns that together match all subscribed topics; above `count_max`, fewer and wider ones. A prefix is
  /// understood as the part of a pattern before its first wildcard: "a." becomes a.> and "a" becomes a.
  [[nodiscard]] std::vector<std::string> patterns(std::size_t count_max) const;
  /// The narrowest pattern that matches all prefixes (except $SYS. topics, if there are other prefixes too);
  /// `>` for more than `count_max` prefixes.
  [[nodiscard]] std::string common_pattern(std::size_t count_max) const;
  [[nodiscard]] bool empty() const noexcept { return by_prefix_.empty(); }
  template <class Visitor>
  void visit(Visitor visitor) const {
    for (const auto& [prefix, slot] : by_prefix_) visitor(std::string_view(prefix));
  }
  /// Number of prefixes that have been removed so far.
  [[nodiscard]] std::uint64_t removals() const noexcept { return removals_; }

 private:
  struct Slot {
    std::uint32_t generation{};
    std::size_t count{};
    std::optional<Start> start;
  };
  struct Waiting {
    std::uint64_t ticket{};
    Ref ref;
  };

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<std::string, std::uint32_t, StringHash, std::equal_to<>> by_prefix_;
  std::map<std::size_t, std::size_t> lengths_;  // how many prefixes have each length
  std::vector<Waiting> waiting_;                // for activate(), in ticket order
  std::uint64_t removals_{};
};

}  // namespace backplane::follower
