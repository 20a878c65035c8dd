#pragma once
// The topics of the store on disk. Private to the store: it includes Boost.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "broker/state/name_index.hpp"
#include "broker/state/name_order.hpp"
#include "broker/state/named_blocks.hpp"

namespace backplane::broker::store {

/// One topic: what its last event says. Nothing is known per event. Its name follows it in memory.
struct StoredTopic {
  std::uint64_t position{};    ///< of its last event; 0: none is written yet
  std::uint64_t offset{};      ///< of its last event
  std::uint64_t bytes{};       ///< of all its events, as published
  std::int64_t time{};         ///< of its last event, on the store's clock
  std::uint64_t next_bytes{};  ///< the writer's: as `bytes`, with the events that are about to be written
  std::uint32_t number{};      ///< in records
  std::uint32_t record_at{};   ///< where its last event's record probably begins in its segment
  std::uint32_t record_bytes{};
  std::uint16_t rule{};  ///< index of its rule; the number of rules: the default
  std::uint8_t name_bytes{};
  bool has_value{};  ///< its last event has a payload, so it is the retained value

  [[nodiscard]] std::string_view name_view() const noexcept {
    return NamedBlocks<StoredTopic>::name_of(*this, name_bytes);
  }
};
static_assert(sizeof(StoredTopic) == 56, "a topic of the store takes 56 bytes and its name");

/// All topics that the store has seen: by name, by number, and in name order. Never removed. Not thread-safe.
class StoredTopics {
 public:
  [[nodiscard]] StoredTopic* find(std::string_view name) const { return index_.find(name); }
  /// The topic with that number in records, or nullptr.
  [[nodiscard]] StoredTopic* find(std::uint32_t number) const {
    return number < numbers_.size() ? numbers_[number] : nullptr;
  }
  /// Adds a topic that find() did not find.
  StoredTopic& add(std::string_view name, std::uint32_t number, std::uint16_t rule);
  [[nodiscard]] std::uint32_t next_number() const noexcept {
    return static_cast<std::uint32_t>(numbers_.size());
  }

  [[nodiscard]] const NameOrder<StoredTopic>& by_name() const noexcept { return order_; }
  /// In memory order: block by block, in the order in which they were added.
  [[nodiscard]] const NamedBlocks<StoredTopic>& in_memory() const noexcept { return blocks_; }
  [[nodiscard]] std::size_t size() const noexcept { return index_.size(); }
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

 private:
  NamedBlocks<StoredTopic> blocks_;
  NameIndex<StoredTopic> index_;
  NameOrder<StoredTopic> order_;
  std::vector<StoredTopic*> numbers_;
};

}  // namespace backplane::broker::store
