#pragma once
// A vector that usually has one element.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>

#include "core/error/error.hpp"

namespace backplane::fanout {

/// A vector of 16 bytes that contains a single element in itself: reading that takes one memory access
/// instead of two. More elements are on the heap. For numbers and pointers. Belongs to one thread.
template <class T>
class SmallVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  SmallVector() noexcept {}
  explicit SmallVector(std::span<const T> all) {
    for (const T& item : all) push_back(item);
  }
  ~SmallVector() { reset(); }
  SmallVector(SmallVector&& other) noexcept { swap(other); }
  SmallVector& operator=(SmallVector&& other) noexcept {
    SmallVector(std::move(other)).swap(*this);
    return *this;
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] T* begin() noexcept { return capacity_ == 1 ? &place_.one : place_.many; }
  [[nodiscard]] const T* begin() const noexcept { return capacity_ == 1 ? &place_.one : place_.many; }
  [[nodiscard]] T* end() noexcept { return begin() + size_; }
  [[nodiscard]] const T* end() const noexcept { return begin() + size_; }
  [[nodiscard]] T& operator[](std::size_t at) noexcept { return begin()[at]; }
  [[nodiscard]] const T& operator[](std::size_t at) const noexcept { return begin()[at]; }

  void push_back(T item) {
    if (size_ == capacity_) grow();
    begin()[size_++] = item;
  }
  /// Only if not empty(). Removing the last element frees the memory.
  void pop_back() noexcept {
    if (--size_ == 0) reset();
  }
  /// Bytes on the heap.
  [[nodiscard]] std::size_t memory() const noexcept { return capacity_ == 1 ? 0 : capacity_ * sizeof(T); }

 private:
  union Place {
    T one;
    T* many;
  };
  static_assert(sizeof(Place) == sizeof(void*), "an element is at most as large as a pointer");

  void swap(SmallVector& other) noexcept {
    std::swap(place_, other.place_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  void grow() {
    CHECK(capacity_ <= std::numeric_limits<std::uint32_t>::max() / 2,
          "a SmallVector has fewer than 2^31 elements");
    T* const many = new T[std::size_t{capacity_} * 2];
    std::copy(begin(), end(), many);
    if (capacity_ > 1) delete[] place_.many;
    place_.many = many;
    capacity_ *= 2;
  }
  void reset() noexcept {
    if (capacity_ > 1) delete[] place_.many;
    capacity_ = 1;
    size_ = 0;
  }

  Place place_{.many = nullptr};
  std::uint32_t size_{0};
  std::uint32_t capacity_{1};  ///< if 1, the element is place_.one
};

}  // namespace backplane::fanout
