#pragma once
// A pool of memory blocks for events.

#include <array>
#include <cstddef>
#include <cstdint>

namespace backplane::broker {

/// Blocks for events, kept by size when they are freed. While one event is evicted for each that is added,
/// nothing is allocated from the system. Size classes are multiples of 16 bytes up to 1 KiB, then 8 per
/// doubling up to 64 KiB; larger blocks come straight from the system. The free blocks are bounded: if sizes
/// change, blocks of the old sizes go back to the system. Lives on the loop thread. Owns the free blocks, not
/// those in use.
class EventPool {
 public:
  /// Keeps at most `slack_bytes_max` of free blocks.
  explicit EventPool(std::size_t slack_bytes_max) : slack_bytes_max_(slack_bytes_max) {}
  ~EventPool();
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;

  /// Returns at least `bytes`, aligned for anything. Throws std::bad_alloc.
  [[nodiscard]] void* take(std::size_t bytes);
  /// Frees a block from take(bytes).
  void give(void* block, std::size_t bytes);

  /// The memory that a block of `bytes` takes, including the system allocator's own word.
  [[nodiscard]] static std::size_t block_bytes(std::size_t bytes) noexcept;

  /// Sets the limit of free blocks. Excess blocks are released as further ones are freed.
  void set_slack_max(std::size_t bytes) noexcept { slack_bytes_max_ = bytes; }

  [[nodiscard]] std::size_t taken_bytes() const noexcept { return taken_bytes_; }
  [[nodiscard]] std::size_t slack_bytes() const noexcept { return slack_bytes_; }
  /// How many blocks were allocated from the system.
  [[nodiscard]] std::uint64_t system_blocks() const noexcept { return system_blocks_; }

 private:
  struct Free {
    Free* next;
  };
  static constexpr std::size_t small_classes = 65;
  static constexpr std::size_t doublings = 6;  // from 1 KiB to 64 KiB
  static constexpr std::size_t unpooled = small_classes + doublings * 8;
  struct SizeClass {
    std::size_t number;
    std::size_t bytes;  // usable
  };
  static SizeClass class_of(std::size_t bytes) noexcept;
  static std::size_t usable_bytes(std::size_t class_number) noexcept;
  void trim(std::size_t down_to);

  std::size_t slack_bytes_max_;
  std::array<Free*, unpooled> free_{};
  std::size_t taken_bytes_{0};
  std::size_t slack_bytes_{0};
  std::size_t trim_next_{0};
  std::uint64_t system_blocks_{0};
};

}  // namespace backplane::broker
