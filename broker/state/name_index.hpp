#pragma once
// Finds named elements by one hash lookup. Heavy (Boost): include it only from sources.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include <boost/unordered/unordered_flat_set.hpp>

namespace backplane::broker {

/// Finds a T by its name. T has `std::string_view name_view() const`, which never changes. Owns only
/// pointers; a lookup allocates nothing. Not thread-safe.
///
/// It is split by hash into 64 parts that grow one by one. Growing hashes each name of a part again; with a
/// million names in one table, that alone would stop the loop for 100 ms.
template <class T>
class NameIndex {
 public:
  [[nodiscard]] T* find(std::string_view name) const {
    const Key key{name, hash_of(name)};
    const Part& part = parts_[part_of(key)];
    const auto found = part.find(key);
    return found == part.end() ? nullptr : *found;
  }

  /// `element`'s name must not be in the index yet.
  void insert(T& element) {
    const Key key{element.name_view(), hash_of(element.name_view())};
    parts_[part_of(key)].insert(&element);
    ++size_;
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Memory used: one pointer per slot, and a byte of bookkeeping per slot (16 for 15).
  [[nodiscard]] std::size_t memory_bytes() const noexcept {
    std::size_t bytes = 0;
    for (const Part& part : parts_) bytes += part.bucket_count() * (sizeof(T*) + 2);
    return bytes;
  }

 private:
  struct Key {
    std::string_view name;
    std::size_t hash;
  };
  static std::size_t hash_of(std::string_view name) { return std::hash<std::string_view>{}(name); }
  // Not StringHash: a key contains its hash, which selects both the part and the slot.
  struct Hash {
    using is_transparent = void;
    using is_avalanching = void;  // libstdc++ hashes strings with Murmur: no need to mix again
    std::size_t operator()(const Key& key) const { return key.hash; }
    std::size_t operator()(const T* element) const { return hash_of(element->name_view()); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const T* a, const T* b) const { return a == b; }
    bool operator()(const Key& a, const T* b) const { return a.name == b->name_view(); }
    bool operator()(const T* a, const Key& b) const { return a->name_view() == b.name; }
  };
  using Part = boost::unordered_flat_set<T*, Hash, Equal>;

  // A part uses the highest bits of the hash for its groups and the lowest for its slots, so parts are
  // selected by others.
  static std::size_t part_of(const Key& key) { return (key.hash >> 24) % 64; }

  std::array<Part, 64> parts_;
  std::size_t size_{0};
};

}  // namespace backplane::broker
