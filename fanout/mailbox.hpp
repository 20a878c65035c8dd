#pragma once
// Things for another thread, now and then.

#include <atomic>
#include <cstddef>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

namespace backplane::fanout {

/// Any thread puts, one takes. It locks, so it is for what happens seldom beside events; whether there is
/// anything costs the taker no lock. Wakes nobody: see Waker.
template <class T>
class Mailbox {
 public:
  void put(T thing) {
    const std::lock_guard lock(mutex_);
    things_.push_back(std::move(thing));
    size_.store(things_.size());
  }
  /// Puts all of `things`, in order, under one lock, and empties it.
  void put_all(std::vector<T>& things) {
    const std::lock_guard lock(mutex_);
    if (things_.empty()) {
      things_.swap(things);  // with its memory, which the taker frees
    } else {
      std::move(things.begin(), things.end(), std::back_inserter(things_));
      things.clear();
    }
    size_.store(things_.size());
  }
  [[nodiscard]] bool empty() const noexcept { return size_.load() == 0; }
  /// Empties it. @returns what was put, in order.
  [[nodiscard]] std::vector<T> take() {
    const std::lock_guard lock(mutex_);
    size_.store(0);
    return std::exchange(things_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<T> things_;
  std::atomic<std::size_t> size_{0};
};

}  // namespace backplane::fanout
