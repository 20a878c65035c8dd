#pragma once
// A value for each of many topics, found by name.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error/error.hpp"
#include "core/topic/topic.hpp"

namespace backplane::follower {

/// A topic's name in 24 bytes. Names of more than 23 bytes are on the heap.
class TopicName {
 public:
  TopicName() noexcept = default;
  /// At most topic_bytes_max.
  explicit TopicName(std::string_view name) : size_(static_cast<std::uint8_t>(name.size())) {
    CHECK(name.size() <= topic_bytes_max, "a topic's name has at most 255 bytes");
    char* to = near_.data();
    if (is_far()) {
      to = new char[name.size()];
      std::memcpy(near_.data(), &to, sizeof to);
    }
    std::copy(name.begin(), name.end(), to);
  }
  ~TopicName() {
    if (is_far()) delete[] far();
  }
  TopicName(TopicName&& other) noexcept : near_(other.near_), size_(std::exchange(other.size_, 0)) {}
  TopicName& operator=(TopicName&& other) noexcept {
    std::swap(near_, other.near_);
    std::swap(size_, other.size_);
    return *this;
  }

  [[nodiscard]] std::string_view view() const noexcept { return {is_far() ? far() : near_.data(), size_}; }

 private:
  static constexpr std::size_t near_max = 23;
  [[nodiscard]] bool is_far() const noexcept { return size_ > near_max; }
  [[nodiscard]] char* far() const noexcept {
    char* at = nullptr;
    std::memcpy(&at, near_.data(), sizeof at);
    return at;
  }

  std::array<char, near_max> near_{};  ///< the name, or a pointer to it
  std::uint8_t size_{0};
};
static_assert(topic_bytes_max <= std::numeric_limits<std::uint8_t>::max());

/// A `State` for each topic. Made for hundreds of thousands of topics whose events arrive in any order, when
/// most time is spent waiting for memory. A topic has one place in each of two tables: a slot of 8 bytes, and
/// an entry with name and state. look_up() prefetches both for several topics at once. Open addressing. The
/// map grows in chunks and returns memory when it shrinks. Belongs to one thread. Adding or erasing a topic
/// can move other states.
template <class State, class Hash = std::hash<std::string_view>>
class TopicMap {
 public:
  /// Where a topic may be. Changes of the map make a guess useless, but never wrong.
  enum class Guess : std::uint32_t {};
  static constexpr Guess none{std::numeric_limits<std::uint32_t>::max()};

  /// Guesses where `names` are, and prefetches their entries from memory.
  /// @param guesses at least as many as `names`
  void look_up(std::span<const std::string_view> names, std::span<Guess> guesses) const {
    if (slots_.empty()) {
      std::fill_n(guesses.begin(), names.size(), none);
      return;
    }
    // The first pass stores the hash where the second one stores the guess.
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::uint32_t hash = hash_of(names[i]);
      guesses[i] = Guess{hash};
      __builtin_prefetch(&slots_[home(hash)]);
    }
    for (Guess& guess : guesses.first(names.size())) {
      const auto hash = static_cast<std::uint32_t>(guess);
      std::size_t at = home(hash);
      while (slots_[at].entry != free_slot && slots_[at].hash != hash) at = after(at);
      guess = Guess{slots_[at].entry};
      if (guess != none) __builtin_prefetch(&entry(slots_[at].entry));
    }
  }

  /// @returns nullptr if there is none. The pointer is valid until the next add() or erase().
  [[nodiscard]] State* find(std::string_view name, Guess guess = none) {
    const auto guessed = static_cast<std::uint32_t>(guess);
    if (guessed < size_ && entry(guessed).name.view() == name) return &entry(guessed).state;
    if (slots_.empty()) return nullptr;
    const std::uint32_t found = slots_[slot_of(name, hash_of(name))].entry;
    return found == free_slot ? nullptr : &entry(found).state;
  }

  /// Adds a topic that is not in the map. The reference is valid until the next add() or erase().
  State& add(std::string_view name, State state) {
    CHECK(size_ < topics_max, "there are fewer than 2^31 topics");
    if ((size_ + 1) * 4 > slots_.size() * 3) resize(std::max<std::size_t>(8, slots_.size() * 2));
    if (size_ == chunks_.size() * chunk_entries) chunks_.push_back(std::make_unique<Chunk>());
    const std::uint32_t hash = hash_of(name);
    slots_[slot_of(name, hash)] = {hash, size_};
    Entry& made = entry(size_++);
    made = {TopicName(name), std::move(state)};
    return made.state;
  }

  /// Erases a topic, if it is in the map.
  void erase(std::string_view name) {
    if (slots_.empty()) return;
    const std::size_t at = slot_of(name, hash_of(name));
    if (slots_[at].entry != free_slot) erase_at(at);
  }

  /// Erases all topics for which condition(name, state) is true.
  template <class Condition>
  void erase_if(Condition condition) {
    // From the end, because the last entry replaces an erased one.
    for (std::uint32_t i = size_; i-- > 0;) {
      const Entry& each = entry(i);
      if (condition(each.name.view(), each.state)) erase_at(slot_with(i));
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Memory in use, without long names.
  [[nodiscard]] std::size_t memory_bytes() const noexcept {
    return slots_.capacity() * sizeof(Slot) + chunks_.capacity() * sizeof(chunks_[0]) +
           chunks_.size() * sizeof(Chunk);
  }

 private:
  static constexpr std::uint32_t free_slot = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::size_t topics_max = std::size_t{1} << 31;
  static constexpr std::size_t chunk_entries = 64;

  struct Slot {
    std::uint32_t hash{};
    std::uint32_t entry{free_slot};
  };
  /// One cache line, if the state is small enough.
  struct alignas(64) Entry {
    TopicName name;
    State state{};
  };
  using Chunk = std::array<Entry, chunk_entries>;

  [[nodiscard]] static std::uint32_t hash_of(std::string_view name) {
    return static_cast<std::uint32_t>(Hash{}(name));
  }
  [[nodiscard]] std::size_t home(std::uint32_t hash) const noexcept { return hash & (slots_.size() - 1); }
  [[nodiscard]] std::size_t after(std::size_t at) const noexcept { return (at + 1) & (slots_.size() - 1); }
  [[nodiscard]] Entry& entry(std::uint32_t at) noexcept {
    return (*chunks_[at / chunk_entries])[at % chunk_entries];
  }
  [[nodiscard]] const Entry& entry(std::uint32_t at) const noexcept {
    return (*chunks_[at / chunk_entries])[at % chunk_entries];
  }

  /// The slot of a name, or the one that it would get.
  [[nodiscard]] std::size_t slot_of(std::string_view name, std::uint32_t hash) const noexcept {
    for (std::size_t at = home(hash);; at = after(at)) {
      const Slot& slot = slots_[at];
      if (slot.entry == free_slot) return at;
      if (slot.hash == hash && entry(slot.entry).name.view() == name) return at;
    }
  }
  [[nodiscard]] std::size_t slot_with(std::uint32_t of_entry) const noexcept {
    std::size_t at = home(hash_of(entry(of_entry).name.view()));
    while (slots_[at].entry != of_entry) at = after(at);
    return at;
  }

  void erase_at(std::size_t hole) {
    const std::uint32_t gone = slots_[hole].entry;
    // The last entry replaces the erased one.
    if (const std::uint32_t last = size_ - 1; last != gone) {
      slots_[slot_with(last)].entry = gone;
      entry(gone) = std::move(entry(last));
    }
    entry(--size_) = {};
    // Slots after it that were displaced move up, so that no search ends early.
    for (std::size_t at = after(hole); slots_[at].entry != free_slot; at = after(at)) {
      const std::size_t mask = slots_.size() - 1;
      const std::size_t stepped = (at - home(slots_[at].hash)) & mask;
      if (stepped < ((at - hole) & mask)) continue;
      slots_[hole] = slots_[at];
      hole = at;
    }
    slots_[hole] = {};
    // One chunk more than needed is kept, and up to 8 slots per topic.
    if (size_ + 2 * chunk_entries <= chunks_.size() * chunk_entries) chunks_.pop_back();
    if (size_ * 8 < slots_.size()) resize(size_ == 0 ? 0 : slots_.size() / 2);
  }

  void resize(std::size_t count) {
    const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(count));
    for (const Slot& slot : old) {
      if (slot.entry == free_slot) continue;
      std::size_t at = home(slot.hash);
      while (slots_[at].entry != free_slot) at = after(at);
      slots_[at] = slot;
    }
  }

  std::vector<Slot> slots_;                     ///< none, or a power of two
  std::vector<std::unique_ptr<Chunk>> chunks_;  ///< of entries, without gaps
  std::uint32_t size_{0};
};

}  // namespace backplane::follower
