#pragma once
// Passes items to another thread.

#include <atomic>
#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

#include "core/thread/mutex.hpp"

namespace backplane::fanout {

/// Any thread puts items, one thread takes them. It locks a mutex, which suits what is rare compared with
/// events; empty() takes no lock. It wakes no thread: see Waker.
template <class T>
class Mailbox {
 public:
  void put(T item) {
    const MutexLock lock(mutex_);
    items_.push_back(std::move(item));
    size_.store(items_.size());
  }
  /// Puts all of `items`, in order, under one lock, and empties the vector.
  void put_all(std::vector<T>& items) {
    const MutexLock lock(mutex_);
    if (items_.empty()) {
      items_.swap(items);  // with its memory, which the taker frees
    } else {
      std::move(items.begin(), items.end(), std::back_inserter(items_));
      items.clear();
    }
    size_.store(items_.size());
  }
  [[nodiscard]] bool empty() const noexcept { return size_.load() == 0; }
  /// Takes all items. @returns them in the order in which they were put.
  [[nodiscard]] std::vector<T> take() {
    const MutexLock lock(mutex_);
    size_.store(0);
    return std::exchange(items_, {});
  }

 private:
  Mutex mutex_;
  std::vector<T> items_ GUARDED_BY(mutex_);
  std::atomic<std::size_t> size_{0};
};

}  // namespace backplane::fanout
