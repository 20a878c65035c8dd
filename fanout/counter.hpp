#pragma once
// A counter that one thread changes and any thread reads.

#include <atomic>
#include <cstdint>

namespace backplane::fanout {

/// One thread, always the same, calls add() and subtract(); any thread may call get().
class Counter {
 public:
  void add(std::uint64_t count) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  void subtract(std::uint64_t count) noexcept { add(0 - count); }
  [[nodiscard]] std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace backplane::fanout
