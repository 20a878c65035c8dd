#pragma once
// A list of elements in order of position, with a sparse index.

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <set>
#include <utility>

namespace backplane::broker {

/// A doubly linked list of elements in ascending order of their positions, with a sparse index. The index has
/// the first element of every run of 2^RunBits positions that contains one, except for the first run, which
/// begins with the list: the oldest element can thus be removed again and again without accessing the index.
/// Appending and removing cost the same however long the list is; finding costs a search over the runs and a
/// walk within one. T has members `T* older`, `T* newer`, `bool leads_run` (a bit is enough) and
/// `std::uint64_t list_position() const`, which must not change while the element is in the list. Owns no
/// element. Not thread-safe.
///
/// Removing an element reads none of its neighbours, unless it is the first or leads its run: they may be
/// anywhere in memory, and waiting for them would dominate the cost.
///
/// Runs without elements cost nothing, so the distance between the oldest and the newest position does not
/// matter. An index entry that is no longer needed is kept for the next run: in a steady state nothing is
/// allocated.
template <class T, unsigned RunBits>
class PositionList {
 public:
  PositionList() = default;
  PositionList(const PositionList&) = delete;
  PositionList& operator=(const PositionList&) = delete;

  [[nodiscard]] T* first() const noexcept { return first_; }
  [[nodiscard]] T* last() const noexcept { return last_; }

  /// Inserts `element`: at once if it is the last, else after a search.
  void insert(T& element) {
    T* const newer = (last_ == nullptr || last_->list_position() < element.list_position())
                         ? nullptr
                         : first_after(element.list_position());
    T* const older = newer == nullptr ? last_ : newer->older;
    element.older = older;
    element.newer = newer;
    (older == nullptr ? first_ : older->newer) = &element;
    (newer == nullptr ? last_ : newer->older) = &element;
    if (older == nullptr) {
      element.leads_run = false;
      // The previous first element now leads its run, if that is another one.
      if (newer != nullptr && run_of(*newer) != run_of(element)) lead_run(*newer);
    } else if (run_of(*older) != run_of(element)) {
      lead_run(element);
    } else {
      element.leads_run = false;
    }
  }

  void erase(T& element) {
    if (element.leads_run) leave_run(element);
    (element.older == nullptr ? first_ : element.older->newer) = element.newer;
    (element.newer == nullptr ? last_ : element.newer->older) = element.older;
    // The new first element needs no entry. It has one, the index's first, if it led the second run.
    if (element.older == nullptr && element.newer != nullptr && element.newer->leads_run) {
      element.newer->leads_run = false;
      remove_run(runs_.begin());
    }
    element.older = nullptr;
    element.newer = nullptr;
  }

  /// The first element whose position is above `position`, or nullptr.
  [[nodiscard]] T* first_after(std::uint64_t position) const {
    if (last_ == nullptr || last_->list_position() <= position) return nullptr;
    T* element = first_;
    if (run_of(position) > run_of(*first_)) {
      const auto run = runs_.lower_bound(run_of(position));
      element = run == runs_.end() ? nullptr : run->first;
    }
    while (element != nullptr && element->list_position() <= position) element = element->newer;
    return element;
  }

  /// The element at exactly `position`, or nullptr.
  [[nodiscard]] T* at(std::uint64_t position) const {
    if (position == 0) return nullptr;
    T* const element = first_after(position - 1);
    return element != nullptr && element->list_position() == position ? element : nullptr;
  }

  /// The first element for which `reached` is true, or nullptr. If it is true for an element, it must be true
  /// for all later ones.
  template <class Reached>
  [[nodiscard]] T* first_where(const Reached& reached) const {
    const auto run = runs_.lower_bound(Search<Reached>{reached});
    T* element = run == runs_.begin() ? first_ : std::prev(run)->first;
    while (element != nullptr && !reached(std::as_const(*element))) element = element->newer;
    return element;
  }

  /// Memory of the index, roughly (a node of a set takes 56 bytes, including the allocator's share).
  [[nodiscard]] std::size_t index_bytes() const noexcept { return (runs_.size() + spare_count_) * 64; }

 private:
  struct Run {
    std::uint64_t number;
    mutable T* first;  // not part of the order
  };
  template <class Reached>
  struct Search {
    const Reached& reached;
  };
  struct ByNumber {
    using is_transparent = void;
    bool operator()(const Run& a, const Run& b) const { return a.number < b.number; }
    bool operator()(const Run& a, std::uint64_t b) const { return a.number < b; }
    bool operator()(std::uint64_t a, const Run& b) const { return a < b.number; }
    template <class Reached>
    bool operator()(const Run& run, const Search<Reached>& search) const {
      return !search.reached(std::as_const(*run.first));
    }
  };
  using Runs = std::set<Run, ByNumber>;

  static std::uint64_t run_of(std::uint64_t position) { return position >> RunBits; }
  static std::uint64_t run_of(const T& element) { return run_of(element.list_position()); }

  void lead_run(T& element) {
    element.leads_run = true;
    if (element.newer != nullptr && element.newer->leads_run && run_of(*element.newer) == run_of(element)) {
      element.newer->leads_run = false;
      runs_.find(run_of(element))->first = &element;
      return;
    }
    const Run run{run_of(element), &element};
    const auto place = element.newer == nullptr ? runs_.end() : runs_.lower_bound(run.number);
    if (spare_count_ > 0) {
      auto spare = std::move(spares_[--spare_count_]);
      if (!spare.empty()) {  // it never is, but the compiler does not know that
        spare.value() = run;
        runs_.insert(place, std::move(spare));
        return;
      }
    }
    runs_.insert(place, run);
  }

  void leave_run(T& element) {
    const auto run = runs_.find(run_of(element));
    if (element.newer != nullptr && run_of(*element.newer) == run_of(element)) {
      element.newer->leads_run = true;
      run->first = element.newer;
    } else {
      remove_run(run);
    }
  }

  void remove_run(typename Runs::const_iterator run) {
    if (spare_count_ < spares_.size()) {
      spares_[spare_count_++] = runs_.extract(run);
    } else {
      runs_.erase(run);
    }
  }

  T* first_{nullptr};
  T* last_{nullptr};
  Runs runs_;
  std::array<typename Runs::node_type, 8> spares_;
  std::size_t spare_count_{0};
};

}  // namespace backplane::broker
