#pragma once
// The topics of the store in memory. Private to the store: it includes Boost.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "broker/state/name_index.hpp"
#include "broker/state/name_order.hpp"
#include "broker/state/named_blocks.hpp"

namespace backplane::broker {

struct KeptEvent;

/// One topic of the store: its events, and which of them have been dropped. The oldest event is always
/// dropped first, so the last one dropped is all that must be known. Its name follows it in memory.
struct KeptTopic {
  KeptEvent* first{};                ///< of its history, oldest
  KeptEvent* last{};                 ///< of its history
  KeptEvent* value{};                ///< the retained one
  std::uint64_t dropped_position{};  ///< of the last event that history has dropped; 0: none
  std::uint64_t dropped_offset{};
  std::int64_t dropped_time{std::numeric_limits<std::int64_t>::min()};  ///< on the store's clock
  std::uint64_t history_bytes{};                                        ///< of its events, as published
  std::uint32_t history_events{};
  std::uint16_t rule{};  ///< index of its rule; the number of rules: the default
  std::uint8_t name_bytes{};
  bool history_due : 1 {};  ///< queued for its history's age
  bool value_due : 1 {};    ///< queued for its value's ttl

  [[nodiscard]] std::string_view name_view() const noexcept {
    return NamedBlocks<KeptTopic>::name_of(*this, name_bytes);
  }
};
static_assert(sizeof(KeptTopic) == 64, "a topic is a cache line and its name");

/// All topics that the store has seen: by name, in name order, and in memory order. They are never removed,
/// because the store must know what they have lost; the topic table bounds their number. Not thread-safe.
/// Owns the topics.
class KeptTopics {
 public:
  [[nodiscard]] KeptTopic* find(std::string_view name) const { return index_.find(name); }
  /// Adds a topic that find() did not find. `name` has at most 255 bytes.
  KeptTopic& add(std::string_view name, std::uint16_t rule);

  [[nodiscard]] const NameOrder<KeptTopic>& by_name() const noexcept { return order_; }

  /// In memory order: block by block, in the order in which they were added.
  [[nodiscard]] const NamedBlocks<KeptTopic>& in_memory() const noexcept { return blocks_; }

  [[nodiscard]] std::size_t size() const noexcept { return index_.size(); }
  [[nodiscard]] std::size_t memory_bytes() const noexcept {
    return blocks_.memory_bytes() + index_.memory_bytes() + order_.memory_bytes();
  }

 private:
  NamedBlocks<KeptTopic> blocks_;
  NameIndex<KeptTopic> index_;
  NameOrder<KeptTopic> order_;
};

}  // namespace backplane::broker
