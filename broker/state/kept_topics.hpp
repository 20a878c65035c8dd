#pragma once
// What a store in memory knows of each topic. For the sources of the store: it includes Boost.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "broker/state/name_index.hpp"
#include "broker/state/name_order.hpp"
#include "broker/state/named_blocks.hpp"

namespace backplane::broker {

struct KeptEvent;

/// One topic's place in the store: its events, and how far they have been given up. What is given up is
/// always the topic's oldest, so the last one given up says it all. Its name stands behind it in memory.
struct KeptTopic {
  KeptEvent* first{};                ///< of its history, oldest
  KeptEvent* last{};                 ///< of its history
  KeptEvent* value{};                ///< the retained one
  std::uint64_t dropped_position{};  ///< of the last event that history has given up; 0: none
  std::uint64_t dropped_offset{};
  std::int64_t dropped_time{std::numeric_limits<std::int64_t>::min()};  ///< on the store's clock
  std::uint64_t history_bytes{};                                        ///< of its events, as published
  std::uint32_t history_events{};
  std::uint16_t rule{};  ///< of the limits; the number of rules: the default
  std::uint8_t name_bytes{};
  bool history_due : 1 {};  ///< is in the queue for its history's age
  bool value_due : 1 {};    ///< is in the queue for its value's ttl

  [[nodiscard]] std::string_view name_view() const noexcept {
    return NamedBlocks<KeptTopic>::name_of(*this, name_bytes);
  }
};
static_assert(sizeof(KeptTopic) == 64, "a topic is a cache line and its name");

/// All topics that a store has seen: by name, in order of names, and one after the other as they lie in
/// memory. They are never forgotten, since what was given up of them must be known: the table of topics
/// bounds their number. One thread; owns them.
class KeptTopics {
 public:
  [[nodiscard]] KeptTopic* find(std::string_view name) const { return index_.find(name); }
  /// Adds what find() did not find. `name` is a topic's (255 bytes at most).
  KeptTopic& add(std::string_view name, std::uint16_t rule);

  [[nodiscard]] const NameOrder<KeptTopic>& by_name() const noexcept { return order_; }

  /// As they lie in memory, block by block in the order in which they came.
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
