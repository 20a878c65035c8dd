#include "broker/state/topic_table.hpp"

#include <algorithm>
#include <string>

#include "broker/state/name_index.hpp"
#include "broker/state/name_order.hpp"
#include "broker/state/named_blocks.hpp"
#include "broker/state/position_list.hpp"

namespace backplane::broker {
namespace {

struct Slot : TopicEntry {
  Slot* older{};
  Slot* newer{};
  // The position under which the slot is in the order. `position` is already the next one when touched() is
  // called.
  std::uint64_t listed_position : 63 {};
  bool leads_run : 1 {};

  [[nodiscard]] std::uint64_t list_position() const noexcept { return listed_position; }
  // Not through `name`, so that both are fetched from memory in parallel.
  [[nodiscard]] std::string_view name_view() const noexcept {
    return NamedBlocks<Slot>::name_of(*this, name.size());
  }
};

// changed_after() may have to walk a whole run before its first topic: 2^12 steps take 0.3 ms.
constexpr unsigned run_bits = 12;

}  // namespace

class TopicTable::Impl {
 public:
  explicit Impl(std::size_t topics_max) : topics_max_(topics_max) { touched_.reserve(touched_max); }

  Slot* find(std::string_view name) const { return index_.find(name); }

  [[nodiscard]] bool full() const noexcept { return index_.size() >= topics_max_; }

  Slot& add(std::string_view name) {
    const auto [slot, kept_name] = slots_.add(name);
    slot.name = kept_name;
    index_.insert(slot);
    names_.insert(slot);
    return slot;
  }

  void touched(Slot& slot) {
    // Events of one topic come in runs.
    if (!touched_.empty() && touched_.back().slot == &slot) {
      touched_.back().position = slot.position;
      return;
    }
    touched_.push_back({&slot, slot.position});
    if (touched_.size() == touched_max) put_in_order();
  }

  Page list(const Pattern& pattern, std::string_view after, std::size_t topics_max, std::size_t scan_max,
            const TopicFilter* filter) const {
    Page page;
    if (pattern.is_exact()) {
      const Slot* slot = find(pattern.str());
      if (slot != nullptr && slot->name > after && is_visible(*slot, filter)) page.topics.push_back(slot);
      return page;
    }
    const std::string_view prefix = pattern.literal_prefix();
    std::string_view looked_at = after;
    std::size_t scanned = 0;
    names_.visit_from(std::max(prefix, after), [&](const Slot& slot) {
      if (slot.name == after) return true;
      if (!slot.name.starts_with(prefix)) return false;
      const bool matches = pattern.matches(slot.name) && is_visible(slot, filter);
      if (scanned == scan_max || (matches && page.topics.size() >= topics_max)) {
        page.cursor = looked_at;
        return false;
      }
      ++scanned;
      looked_at = slot.name;
      if (matches) page.topics.push_back(&slot);
      return true;
    });
    return page;
  }

  Page changed_after(std::span<const Pattern> patterns, std::uint64_t position, std::size_t topics_max,
                     std::size_t scan_max, const TopicFilter* filter) {
    put_in_order();
    Page page;
    std::uint64_t looked_at = position;
    std::size_t scanned = 0;
    for (const Slot* slot = order_.first_after(position); slot != nullptr; slot = slot->newer) {
      const bool matches = std::any_of(patterns.begin(), patterns.end(),
                                       [&](const Pattern& pattern) { return pattern.matches(slot->name); }) &&
                           is_visible(*slot, filter);
      if (scanned == scan_max || (matches && page.topics.size() >= topics_max)) {
        page.cursor = std::to_string(looked_at);
        break;
      }
      ++scanned;
      looked_at = slot->listed_position;
      if (matches) page.topics.push_back(slot);
    }
    return page;
  }

  void visit(const std::function<void(const TopicEntry&)>& see) const {
    names_.visit_from("", [&](const Slot& slot) {
      see(slot);
      return true;
    });
  }

  std::size_t size() const noexcept { return index_.size(); }

  std::size_t memory_bytes() const noexcept {
    return slots_.memory_bytes() + index_.memory_bytes() + names_.memory_bytes() + order_.index_bytes();
  }

 private:
  struct Touched {
    Slot* slot;
    std::uint64_t position;
  };
  static constexpr std::size_t touched_max = 64;

  static bool is_visible(const Slot& slot, const TopicFilter* filter) {
    return filter == nullptr || filter->matches(slot.name);
  }

  // Moving a topic to the end of the order writes to its neighbours, which may be anywhere in memory. They
  // are fetched for many topics in parallel.
  void put_in_order() {
    for (const Touched& touched : touched_) {
      if (touched.slot->older != nullptr) __builtin_prefetch(touched.slot->older, 1);
      if (touched.slot->newer != nullptr) __builtin_prefetch(touched.slot->newer, 1);
    }
    for (const auto& [slot, position] : touched_) {
      if (slot->position != position) continue;  // touched again: a later entry handles it
      if (slot->listed_position != 0) order_.erase(*slot);
      slot->listed_position = position & ~(std::uint64_t{1} << 63);
      order_.insert(*slot);
    }
    touched_.clear();
  }

  std::size_t topics_max_;
  NamedBlocks<Slot> slots_;
  NameIndex<Slot> index_;
  NameOrder<Slot> names_;
  PositionList<Slot, run_bits> order_;
  std::vector<Touched> touched_;  // since the order was last updated
};

TopicTable::TopicTable(std::size_t topics_max) : impl_(std::make_unique<Impl>(topics_max)) {}
TopicTable::~TopicTable() = default;

TopicEntry* TopicTable::find_or_add(std::string_view name) {
  Slot* const known = impl_->find(name);
  if (known != nullptr) return known;
  return impl_->full() ? nullptr : &impl_->add(name);
}

TopicEntry& TopicTable::find_or_add_own(std::string_view name) {
  Slot* const known = impl_->find(name);
  return known != nullptr ? *known : impl_->add(name);
}

TopicEntry* TopicTable::find(std::string_view name) {
  return impl_->find(name);
}

const TopicEntry* TopicTable::find(std::string_view name) const {
  return impl_->find(name);
}

void TopicTable::touched(TopicEntry& entry) {
  impl_->touched(static_cast<Slot&>(entry));
}

TopicTable::Page TopicTable::list(const Pattern& pattern, std::string_view after, std::size_t topics_max,
                                  std::size_t scan_max, const TopicFilter* filter) const {
  return impl_->list(pattern, after, std::max<std::size_t>(topics_max, 1), std::max<std::size_t>(scan_max, 1),
                     filter);
}

TopicTable::Page TopicTable::changed_after(std::span<const Pattern> patterns, std::uint64_t position,
                                           std::size_t topics_max, std::size_t scan_max,
                                           const TopicFilter* filter) const {
  return impl_->changed_after(patterns, position, std::max<std::size_t>(topics_max, 1),
                              std::max<std::size_t>(scan_max, 1), filter);
}

void TopicTable::visit(const std::function<void(const TopicEntry&)>& see) const {
  impl_->visit(see);
}

std::size_t TopicTable::size() const noexcept {
  return impl_->size();
}
std::size_t TopicTable::memory_bytes() const noexcept {
  return impl_->memory_bytes();
}

}  // namespace backplane::broker
