#pragma once
// Named elements in byte order of their names.

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace backplane::broker {

/// Pointers to named elements, sorted by name, in pieces of at most 512. Inserting moves at most one piece,
/// and no request ever waits for a million names to be sorted. T has `std::string_view name_view() const`,
/// which never changes; names are unique. Owns no element. Not thread-safe.
template <class T>
class NameOrder {
 public:
  void insert(T& element) {
    ++size_;
    if (pieces_.empty()) {
      pieces_.emplace_back().reserve(piece_max);
      pieces_.back().push_back(&element);
      return;
    }
    std::size_t p = piece_of(element.name_view());
    if (pieces_[p].size() == piece_max) {
      split(p, p + 1 == pieces_.size() && element.name_view() > pieces_[p].back()->name_view());
      p = piece_of(element.name_view());
    }
    std::vector<T*>& piece = pieces_[p];
    piece.insert(first_not_before(piece, element.name_view()), &element);
  }

  /// Calls `visit(T&)` for all names from `name` on, until it returns false.
  template <class Visit>
  void visit_from(std::string_view name, const Visit& visit) const {
    if (pieces_.empty()) return;
    std::size_t p = piece_of(name);
    auto at = first_not_before(pieces_[p], name);
    for (;;) {
      for (; at != pieces_[p].end(); ++at) {
        if (!visit(**at)) return;
      }
      if (++p == pieces_.size()) return;
      at = pieces_[p].begin();
    }
  }

  /// How many names begin with `prefix`.
  [[nodiscard]] std::size_t count_with(std::string_view prefix) const {
    if (prefix.empty() || pieces_.empty()) return size_;
    // UTF-8 never contains this byte: it sorts after everything that begins with the prefix.
    const std::string end = std::string(prefix) + '\xff';
    return rank(end) - rank(prefix);
  }

  [[nodiscard]] std::size_t memory_bytes() const noexcept {
    return pieces_.size() * (piece_max * sizeof(T*) + sizeof(std::vector<T*>));
  }

 private:
  static constexpr std::size_t piece_max = 512;

  static auto first_not_before(const std::vector<T*>& piece, std::string_view name) {
    return std::lower_bound(piece.begin(), piece.end(), name,
                            [](const T* a, std::string_view b) { return a->name_view() < b; });
  }

  // The piece that contains `name`, or into which it would be inserted.
  [[nodiscard]] std::size_t piece_of(std::string_view name) const {
    const auto after = std::upper_bound(
        pieces_.begin(), pieces_.end(), name,
        [](std::string_view a, const std::vector<T*>& b) { return a < b.front()->name_view(); });
    return after == pieces_.begin() ? 0 : static_cast<std::size_t>(after - pieces_.begin()) - 1;
  }

  // How many names come before `name`.
  [[nodiscard]] std::size_t rank(std::string_view name) const {
    const std::size_t p = piece_of(name);
    std::size_t before = 0;
    for (std::size_t i = 0; i < p; ++i) before += pieces_[i].size();
    return before + static_cast<std::size_t>(first_not_before(pieces_[p], name) - pieces_[p].begin());
  }

  // Splits in halves. Names that arrive in order fill their pieces instead, because only the last one moves
  // to the next.
  void split(std::size_t p, bool at_the_end) {
    std::vector<T*> upper;
    upper.reserve(piece_max);
    const auto from = pieces_[p].begin() + (at_the_end ? piece_max - 1 : piece_max / 2);
    upper.assign(from, pieces_[p].end());
    pieces_[p].erase(from, pieces_[p].end());
    pieces_.insert(pieces_.begin() + static_cast<std::ptrdiff_t>(p) + 1, std::move(upper));
  }

  std::vector<std::vector<T*>> pieces_;
  std::size_t size_{0};
};

}  // namespace backplane::broker
