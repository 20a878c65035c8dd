#pragma once
// The events that are numbered and not published yet.

#include <cstddef>
#include <span>
#include <vector>

#include "broker/state/history_store.hpp"

namespace backplane::broker {

/// A queue of events in the order of their positions. Their memory is contiguous, so that any run of them is
/// a batch for the store.
class UnpublishedEvents {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == events_.size(); }
  [[nodiscard]] std::size_t size() const noexcept { return events_.size() - first_; }
  [[nodiscard]] const HistoryAppend& front() const { return events_[first_]; }
  [[nodiscard]] std::span<const HistoryAppend> all() const { return std::span(events_).subspan(first_); }
  [[nodiscard]] std::span<const HistoryAppend> last(std::size_t count) const {
    return std::span(events_).last(count);
  }

  void reserve(std::size_t count) { events_.reserve(count); }
  HistoryAppend& emplace_back() { return events_.emplace_back(); }
  void pop_front(std::size_t count) {
    first_ += count;
    // Moves an event at most once on average.
    if (first_ * 2 < events_.size()) return;
    events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }

 private:
  std::vector<HistoryAppend> events_;
  std::size_t first_{0};
};

}  // namespace backplane::broker
