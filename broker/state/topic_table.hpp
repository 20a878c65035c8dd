#pragma once
// The numbering of topics, which is kept as long as the stream.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/state/topic_filter.hpp"
#include "core/topic/pattern.hpp"

namespace backplane::broker {

/// What the broker knows of one topic. Its address never changes.
struct TopicEntry {
  std::string_view name;       ///< valid as long as the table
  std::uint64_t offset{};      ///< of its last event
  std::uint64_t position{};    ///< of its last event
  std::uint64_t bytes{};       ///< of all its events, as published
  std::int64_t received_ns{};  ///< of its last event
  void* store_mark{};          ///< the history store's: see HistoryAppend::topic_mark
};

/// All topics of one backplane: by name in one hash lookup, in name order for listings, and by the position
/// of their last event for Tails. Lives on the loop thread. A lookup of a known topic allocates nothing.
class TopicTable {
 public:
  explicit TopicTable(std::size_t topics_max);
  ~TopicTable();
  TopicTable(const TopicTable&) = delete;
  TopicTable& operator=(const TopicTable&) = delete;

  /// The topic's entry, created if it is new. @returns nullptr if it is new and the table is full.
  [[nodiscard]] TopicEntry* find_or_add(std::string_view name);
  /// The same for $SYS topics, which are few and limited elsewhere: the table's limit does not apply.
  [[nodiscard]] TopicEntry& find_or_add_own(std::string_view name);
  [[nodiscard]] TopicEntry* find(std::string_view name);
  [[nodiscard]] const TopicEntry* find(std::string_view name) const;

  /// Records that `entry` has the latest position of all (already in `entry.position`), for the order of
  /// changed_after(). Call it whenever a position changes.
  void touched(TopicEntry& entry);

  /// A page of a listing. `cursor` is for the next page; empty: this was the last.
  struct Page {
    std::vector<const TopicEntry*> topics;
    std::string cursor;
  };
  /// Topics that match, in byte order of names, after `after` ("": from the start), without those that
  /// `filter` hides (but the cursor may name one). Examines at most `scan_max` entries, so a page may be
  /// short even though more follow.
  [[nodiscard]] Page list(const Pattern& pattern, std::string_view after, std::size_t topics_max,
                          std::size_t scan_max, const TopicFilter* filter = nullptr) const;
  /// Topics that match one of `patterns` and are not hidden by `filter`, and whose last position is above
  /// `position`, in ascending order of that position. The cursor is the last position returned or examined,
  /// in decimal digits. The cost is what it examines (at most scan_max) and the way to the first, at most
  /// 4,096 entries, however many topics there are.
  [[nodiscard]] Page changed_after(std::span<const Pattern> patterns, std::uint64_t position,
                                   std::size_t topics_max, std::size_t scan_max,
                                   const TopicFilter* filter = nullptr) const;

  /// All topics, in byte order of names.
  void visit(const std::function<void(const TopicEntry&)>& see) const;

  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
