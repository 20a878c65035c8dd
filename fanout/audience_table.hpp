#pragma once
// The audiences of one client.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include "fanout/log/ids.hpp"

namespace backplane::fanout {

/// The place of a client among the members of each of its audiences. A hash table with open addressing:
/// joining and leaving take the same time with one audience as with a hundred thousand, at 11 to 22 bytes per
/// audience. Belongs to its client.
class AudienceTable {
 public:
  /// @returns the client's place, valid until the next add() or remove(); nullptr if it is not in the table
  [[nodiscard]] const std::uint32_t* find(AudienceId audience) const noexcept {
    if (used_ == 0) return nullptr;
    const Entry& entry = entries_[slot(audience)];
    return entry.place == free_place ? nullptr : &entry.place;
  }
  /// Only if the audience is not in the table.
  void add(AudienceId audience, std::uint32_t place) {
    if ((used_ + 1) * 4 > slots_ * 3) resize(slots_ == 0 ? 4 : slots_ * 2);
    entries_[slot(audience)] = {audience, place};
    ++used_;
  }
  /// Changes the client's place. Only if the audience is in the table.
  void move(AudienceId audience, std::uint32_t place) noexcept { entries_[slot(audience)].place = place; }
  /// Only if the audience is in the table.
  void remove(AudienceId audience) {
    const std::size_t mask = slots_ - 1;
    std::size_t hole = slot(audience);
    // Displaced entries behind it move up. Otherwise a search for them would end at the hole.
    for (std::size_t at = (hole + 1) & mask; entries_[at].place != free_place; at = (at + 1) & mask) {
      const std::size_t stepped = (at - home(entries_[at].audience)) & mask;
      if (stepped < ((at - hole) & mask)) continue;
      entries_[hole] = entries_[at];
      hole = at;
    }
    entries_[hole] = {};
    --used_;
    if (used_ * 8 < slots_) resize(used_ == 0 ? 0 : slots_ / 2);
  }
  [[nodiscard]] std::size_t size() const noexcept { return used_; }
  [[nodiscard]] std::size_t memory() const noexcept { return slots_ * sizeof(Entry); }

  /// Calls visit(audience, place) for each.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const Entry& entry : std::span(entries_.get(), slots_)) {
      if (entry.place != free_place) visit(entry.audience, entry.place);
    }
  }

 private:
  static constexpr std::uint32_t free_place = std::numeric_limits<std::uint32_t>::max();
  struct Entry {
    AudienceId audience{};
    std::uint32_t place{free_place};
  };

  [[nodiscard]] std::size_t home(AudienceId audience) const noexcept {
    return (static_cast<std::uint64_t>(audience) * 0x9E37'79B9'7F4A'7C15u >> 32) & (slots_ - 1);
  }
  /// The slot that contains the audience, or the free one where it would be.
  [[nodiscard]] std::size_t slot(AudienceId audience) const noexcept {
    std::size_t at = home(audience);
    while (entries_[at].place != free_place && entries_[at].audience != audience) {
      at = (at + 1) & (slots_ - 1);
    }
    return at;
  }
  void resize(std::uint32_t size) {
    const auto old = std::exchange(entries_, size > 0 ? std::make_unique<Entry[]>(size) : nullptr);
    for (const Entry& entry : std::span(old.get(), std::exchange(slots_, size))) {
      if (entry.place != free_place) entries_[slot(entry.audience)] = entry;
    }
  }

  std::unique_ptr<Entry[]> entries_;
  std::uint32_t slots_{};  ///< size of entries_: 0 or a power of two
  std::uint32_t used_{};   ///< how many of these are in use
};

}  // namespace backplane::fanout
