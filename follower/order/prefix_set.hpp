#pragma once
// What a reader subscribes to, and from where on each of it counts.

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

/// The prefixes subscribed to, counted, each with the position from which on it is in force. A value of
/// its owner's thread.
class PrefixSet {
 public:
  /// Where the reading of a prefix began: all after `position` of `stream` concerns it.
  struct Start {
    std::uint64_t stream{};
    std::uint64_t position{};
  };
  /// Names one life of one prefix, from its first add() to its last remove().
  struct Ref {
    std::uint32_t slot{};
    std::uint32_t generation{};
  };

  /// @returns whether the prefix is new, and so to be subscribed to.
  bool add(std::string_view prefix, std::uint64_t ticket);
  /// @returns whether that was the last of it, so that the subscription is to be ended.
  bool remove(std::string_view prefix);

  /// What was added with a ticket up to this one is in force from `position` of `stream` on.
  void activate(std::uint64_t ticket, const Start& start);
  /// What was in force in a stream counts from `start` on, which is in another one.
  void rebase(std::uint64_t old_stream, const Start& start);

  /// A prefix with which `topic` begins: of several, the one in force for longest. None: nobody wants it.
  [[nodiscard]] std::optional<Ref> match(std::string_view topic) const;
  [[nodiscard]] bool is_current(const Ref& ref) const noexcept {
    return slots_[ref.slot].generation == ref.generation;
  }
  /// Nothing while it is not known to be in force. `ref` must be alive.
  [[nodiscard]] const std::optional<Start>& start(const Ref& ref) const { return slots_[ref.slot].start; }

  /// Patterns that match the topics meant, and maybe others where that takes fewer than `count_max`:
  /// a prefix is taken as what a pattern has before its first wildcard, so "a." is a.> and "a" is a.
  [[nodiscard]] std::vector<std::string> patterns(std::size_t count_max) const;
  /// One pattern for all of them (but for the system's topics, where others are meant too): as narrow as
  /// that goes, or `>` where they are more than `count_max`.
  [[nodiscard]] std::string common_pattern(std::size_t count_max) const;
  [[nodiscard]] bool empty() const noexcept { return by_prefix_.empty(); }
  template <class Visitor>
  void visit(Visitor visitor) const {
    for (const auto& [prefix, slot] : by_prefix_) visitor(std::string_view(prefix));
  }
  /// How many prefixes have been removed so far.
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
  std::vector<Waiting> waiting_;                // for live(), in the order of tickets
  std::uint64_t removals_{};
};

}  // namespace backplane::follower
