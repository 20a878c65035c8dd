#pragma once
// The messages that a client has lost since its last report.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fanout/log/ids.hpp"
#include "fanout/topic_table.hpp"

namespace backplane::fanout {

/// All messages of the topic with an offset from `first` to `last` are lost.
struct Loss {
  TopicId topic{};
  std::uint64_t first{};
  std::uint64_t last{};
};

/// Exact ranges of lost messages: a message in none of them was not lost. Belongs to a backlog. Its size
/// grows with the number of topics, not of messages.
class LossRanges {
 public:
  void add(TopicId topic, std::uint64_t offset);
  [[nodiscard]] bool empty() const noexcept { return losses_.empty(); }
  /// Whether it has allocated memory.
  [[nodiscard]] bool has_memory() const noexcept { return losses_.capacity() > 0; }
  /// The ranges, in the order of their first messages' loss.
  [[nodiscard]] std::span<const Loss> losses() const noexcept { return losses_; }
  /// Removes all ranges. Keeps a little memory for the next ones.
  void clear();

 private:
  std::vector<Loss> losses_;
  TopicTable newest_;  ///< index of each topic's last range
};

}  // namespace backplane::fanout
