#pragma once
// A table from topics to numbers.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fanout/log/ids.hpp"

namespace backplane::fanout {

/// A hash table with open addressing. clear() takes constant time and keeps the memory. Belongs to one
/// thread.
class TopicTable {
 public:
  /// @returns the topic's number, which is `initial` if it was not in the table.
  std::uint64_t& at(TopicId topic, std::uint64_t initial) {
    if ((used_ + 1) * 4 > entries_.size() * 3) grow();
    Entry& entry = find(topic);
    if (entry.era != era_) {
      entry = {initial, era_, topic};
      ++used_;
    }
    return entry.value;
  }

  void clear() noexcept {
    ++era_;
    used_ = 0;
  }

 private:
  struct Entry {
    std::uint64_t value{};
    std::uint64_t era{};
    TopicId topic{};
  };

  Entry& find(TopicId topic) noexcept {
    const std::size_t mask = entries_.size() - 1;
    std::size_t at = (static_cast<std::uint64_t>(topic) * 0x9E37'79B9'7F4A'7C15u >> 32) & mask;
    while (entries_[at].era == era_ && entries_[at].topic != topic) at = (at + 1) & mask;
    return entries_[at];
  }
  void grow() {
    const std::vector<Entry> old =
        std::exchange(entries_, std::vector<Entry>(entries_.empty() ? 8 : entries_.size() * 2));
    for (const Entry& entry : old) {
      if (entry.era == era_) find(entry.topic) = entry;
    }
  }

  std::vector<Entry> entries_;  ///< their number is a power of two
  std::uint64_t era_{1};        ///< entries of earlier eras are free
  std::size_t used_{};
};

}  // namespace backplane::fanout
