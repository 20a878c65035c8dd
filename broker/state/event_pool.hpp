#pragma once
// Memory for events that come and go.

#include <array>
#include <cstddef>
#include <cstdint>

namespace backplane::broker {

/// Blocks for events, kept by size when they come back: where one event is given up for each that is added,
/// nothing is asked of the system. Sizes are in classes of 16 bytes up to 1 KiB, then 8 to each doubling up
/// to 64 KiB; larger blocks go straight to the system. What waits for use is bounded: when sizes change,
/// blocks of the old ones go back. Lives on the loop thread; owns what waits, not what was taken.
class EventPool {
 public:
  /// Keeps at most `slack_bytes_max` for later use.
  explicit EventPool(std::size_t slack_bytes_max) : slack_bytes_max_(slack_bytes_max) {}
  ~EventPool();
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;

  /// At least `bytes`, aligned for anything. Throws std::bad_alloc.
  [[nodiscard]] void* take(std::size_t bytes);
  /// Gives back what take(bytes) gave.
  void give(void* block, std::size_t bytes);

  /// What a block of `bytes` costs in all, the system allocator's own word included.
  [[nodiscard]] static std::size_t block_bytes(std::size_t bytes) noexcept;

  /// From now on; what is above goes as blocks come back.
  void set_slack_max(std::size_t bytes) noexcept { slack_bytes_max_ = bytes; }

  [[nodiscard]] std::size_t taken_bytes() const noexcept { return taken_bytes_; }
  [[nodiscard]] std::size_t slack_bytes() const noexcept { return slack_bytes_; }
  /// How often the system was asked for a block.
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
