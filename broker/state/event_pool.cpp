#include "broker/state/event_pool.hpp"

#include <bit>
#include <new>

namespace backplane::broker {
namespace {

// The system's allocator returns multiples of 16 bytes and uses 8 of each itself, so classes end where its
// blocks end.
constexpr std::size_t system_word = 8;
constexpr std::size_t small_bytes_max = 1024 + system_word;
constexpr std::size_t pooled_bytes_max = (64u << 10) - system_word;

}  // namespace

EventPool::SizeClass EventPool::class_of(std::size_t bytes) noexcept {
  if (bytes <= small_bytes_max) {
    const std::size_t number = (bytes + system_word - 1) / 16;
    return {number, number * 16 + system_word};
  }
  const std::size_t whole = bytes + system_word;
  if (bytes > pooled_bytes_max) return {unpooled, ((whole + 15) & ~std::size_t{15}) - system_word};
  const auto doubling = static_cast<std::size_t>(std::bit_width(whole - 1)) - 11;
  const std::size_t step = std::size_t{128} << doubling;
  const std::size_t rounded = (whole + step - 1) / step * step;
  return {small_classes + doubling * 8 + (rounded - (std::size_t{1024} << doubling)) / step - 1,
          rounded - system_word};
}

std::size_t EventPool::usable_bytes(std::size_t class_number) noexcept {
  if (class_number < small_classes) return class_number * 16 + system_word;
  const std::size_t doubling = (class_number - small_classes) / 8;
  const std::size_t steps = (class_number - small_classes) % 8 + 1;
  return (std::size_t{1024} << doubling) + steps * (std::size_t{128} << doubling) - system_word;
}

std::size_t EventPool::block_bytes(std::size_t bytes) noexcept {
  return class_of(bytes).bytes + system_word;
}

EventPool::~EventPool() {
  trim(0);
}

void* EventPool::take(std::size_t bytes) {
  const SizeClass size = class_of(bytes);
  taken_bytes_ += size.bytes + system_word;
  if (size.number != unpooled && free_[size.number] != nullptr) {
    Free* const block = free_[size.number];
    free_[size.number] = block->next;
    slack_bytes_ -= size.bytes + system_word;
    return block;
  }
  ++system_blocks_;
  return ::operator new(size.bytes);
}

void EventPool::give(void* block, std::size_t bytes) {
  const SizeClass size = class_of(bytes);
  taken_bytes_ -= size.bytes + system_word;
  if (size.number == unpooled || size.bytes + system_word > slack_bytes_max_) {
    ::operator delete(block);
    return;
  }
  // Half is released, so that not every step trims again.
  if (slack_bytes_ + size.bytes + system_word > slack_bytes_max_) trim(slack_bytes_max_ / 2);
  free_[size.number] = ::new (block) Free{free_[size.number]};
  slack_bytes_ += size.bytes + system_word;
}

// Cycles through the classes, so that sizes that are no longer used do not stay for ever.
void EventPool::trim(std::size_t down_to) {
  while (slack_bytes_ > down_to) {
    while (slack_bytes_ > down_to && free_[trim_next_] != nullptr) {
      Free* const block = free_[trim_next_];
      free_[trim_next_] = block->next;
      slack_bytes_ -= usable_bytes(trim_next_) + system_word;
      ::operator delete(block);
    }
    if (free_[trim_next_] == nullptr) trim_next_ = (trim_next_ + 1) % unpooled;
  }
}

}  // namespace backplane::broker
