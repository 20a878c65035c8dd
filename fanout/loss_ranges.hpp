#pragma once
// Which messages a client has lost since it was last told.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fanout/log/ids.hpp"
#include "fanout/topic_table.hpp"

namespace backplane::fanout {

/// Messages of one topic with all offsets from `first` to `last` are lost.
struct Loss {
  TopicId topic{};
  std::uint64_t first{};
  std::uint64_t last{};
};

/// Ranges of lost messages, exactly: what lies in none of them was not lost. Belongs to its client; grows
/// with the number of topics, not of messages.
class LossRanges {
 public:
  void add(TopicId topic, std::uint64_t offset);
  [[nodiscard]] bool empty() const noexcept { return losses_.empty(); }
  /// Whether anything was ever added, but for what clear() gave back.
  [[nodiscard]] bool has_memory() const noexcept { return losses_.capacity() > 0; }
  /// In the order in which the losses began.
  [[nodiscard]] std::span<const Loss> losses() const noexcept { return losses_; }
  void clear();

 private:
  std::vector<Loss> losses_;
  TopicTable newest_;  ///< index of each topic's last range
};

}  // namespace backplane::fanout
