#pragma once
// Elements in memory, each followed by its name.

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/error/error.hpp"

namespace backplane::broker {

/// Elements at addresses that never change, in blocks of 64 KiB, in the order in which they were added. Each
/// is followed by its name, so reading the name needs no further access to memory and no allocation. T has
/// `std::string_view name_view() const`, which returns name_of(). Owns the elements. Not thread-safe.
template <class T>
class NamedBlocks {
  static_assert(std::is_trivially_destructible_v<T>, "only the memory is given back");

 public:
  /// An element's name.
  static std::string_view name_of(const T& element, std::size_t name_bytes) noexcept {
    return {reinterpret_cast<const char*>(&element + 1), name_bytes};
  }

  /// A new element and its stored name.
  struct Added {
    T& element;
    std::string_view name;
  };
  /// Adds an element. `name` is copied and must be shorter than a block.
  Added add(std::string_view name) {
    const std::size_t bytes = record_bytes(name.size());
    CHECK(bytes <= block_bytes, "a name fits into a block");
    if (blocks_.empty() || blocks_.back().used + bytes > block_bytes) {
      blocks_.push_back({std::make_unique_for_overwrite<std::byte[]>(block_bytes), 0, 0});
    }
    Block& block = blocks_.back();
    T* const element = ::new (block.memory.get() + block.used) T{};
    std::memcpy(element + 1, name.data(), name.size());
    block.used += bytes;
    ++block.elements;
    return {*element, name_of(*element, name.size())};
  }

  [[nodiscard]] std::size_t blocks() const noexcept { return blocks_.size(); }
  [[nodiscard]] std::size_t elements_in(std::size_t block) const { return blocks_[block].elements; }
  template <class Visit>
  void visit_block(std::size_t block, const Visit& visit) const {
    std::byte* at = blocks_[block].memory.get();
    for (std::size_t i = 0; i < blocks_[block].elements; ++i) {
      T& element = *std::launder(reinterpret_cast<T*>(at));
      at += record_bytes(element.name_view().size());
      visit(element);
    }
  }

  [[nodiscard]] std::size_t memory_bytes() const noexcept { return blocks_.size() * block_bytes; }

 private:
  static constexpr std::size_t block_bytes = 64u << 10;
  struct Block {
    std::unique_ptr<std::byte[]> memory;
    std::size_t used{};
    std::size_t elements{};
  };
  static std::size_t record_bytes(std::size_t name_bytes) {
    return sizeof(T) + (name_bytes + alignof(T) - 1) / alignof(T) * alignof(T);
  }

  std::vector<Block> blocks_;
};

}  // namespace backplane::broker
