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

/// Where a client stands among the members of each of its audiences: open addressing, so that joining and
/// leaving take the same time for one audience as for a hundred thousand, at 11 to 22 bytes each. Belongs to
/// its client.
class AudienceTable {
 public:
  /// @returns its place, or nullptr; until the next add() or remove().
  [[nodiscard]] const std::uint32_t* find(AudienceId audience) const noexcept {
    if (used_ == 0) return nullptr;
    const Entry& entry = entries_[slot(audience)];
    return entry.place == free_place ? nullptr : &entry.place;
  }
  /// One that is not in it.
  void add(AudienceId audience, std::uint32_t place) {
    if ((used_ + 1) * 4 > slots_ * 3) resize(slots_ == 0 ? 4 : slots_ * 2);
    entries_[slot(audience)] = {audience, place};
    ++used_;
  }
  /// One that is in it.
  void move(AudienceId audience, std::uint32_t place) noexcept { entries_[slot(audience)].place = place; }
  /// One that is in it.
  void remove(AudienceId audience) {
    const std::size_t mask = slots_ - 1;
    std::size_t hole = slot(audience);
    // Those behind it that had to step aside move up, so that no search ends early.
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
  /// Where it is, or where it would be.
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
  std::uint32_t slots_{};  ///< how many entries there are: none, or a power of two
  std::uint32_t used_{};   ///< how many of them are in use
};

}  // namespace backplane::fanout
