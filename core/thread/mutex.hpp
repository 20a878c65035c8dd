#pragma once
// A mutex whose rules clang's thread-safety analysis checks (`./dev lint` runs it). GCC ignores the
// annotations.
//
//   mutable Mutex mutex_;
//   std::vector<Event> events_ GUARDED_BY(mutex_);
//   void drop_oldest() REQUIRES(mutex_);
//
//   void add(Event event) {
//     const MutexLock lock(mutex_);
//     events_.push_back(std::move(event));
//   }

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define THREAD_ANNOTATION(attribute) __attribute__((attribute))
#else
#define THREAD_ANNOTATION(attribute)
#endif

/// On a field: it is read and written only while `mutex` is locked.
#define GUARDED_BY(mutex) THREAD_ANNOTATION(guarded_by(mutex))
/// On a function: its caller has locked `mutex`.
#define REQUIRES(mutex) THREAD_ANNOTATION(requires_capability(mutex))

namespace backplane {

/// A std::mutex for use with the annotations above. Lock it by a MutexLock.
class THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void unlock() THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

/// Locks a mutex from its construction to its destruction.
class THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) THREAD_ANNOTATION(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

/// A condition variable for a Mutex. It takes no predicate, because the analysis does not see that a lambda
/// runs under the lock: wait in a loop.
///
///   while (!ready_ && changed_.wait_until(mutex_, deadline)) {
///   }
class CondVar {
 public:
  void notify_all() noexcept { condition_.notify_all(); }

  /// Unlocks `mutex`, blocks until it is notified or `deadline` has passed, and locks it again. It may also
  /// wake for no reason. @returns false if the deadline has passed.
  [[nodiscard]] bool wait_until(Mutex& mutex, std::chrono::steady_clock::time_point deadline)
      REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    const std::cv_status status = condition_.wait_until(lock, deadline);
    lock.release();  // the caller's MutexLock unlocks it
    return status == std::cv_status::no_timeout;
  }

 private:
  std::condition_variable condition_;
};

}  // namespace backplane
