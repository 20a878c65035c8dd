#include "core/thread/mutex.hpp"

#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace backplane {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

TEST(Mutex, OneThreadAtATimeIsBetweenLockAndUnlock) {
  struct {
    Mutex mutex;
    int count GUARDED_BY(mutex){};
  } counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&counter] {
      for (int k = 0; k < 10'000; ++k) {
        const MutexLock lock(counter.mutex);
        ++counter.count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const MutexLock lock(counter.mutex);
  EXPECT_EQ(counter.count, 40'000);
}

TEST(CondVar, AWaitEndsAtItsDeadline) {
  Mutex mutex;
  CondVar changed;
  const MutexLock lock(mutex);
  while (changed.wait_until(mutex, Clock::now() + 1ms)) {
  }
}

TEST(CondVar, AWaitEndsWhenItIsNotified) {
  struct {
    Mutex mutex;
    CondVar changed;
    bool ready GUARDED_BY(mutex){};
  } state;
  std::thread setter([&state] {
    const MutexLock lock(state.mutex);
    state.ready = true;
    state.changed.notify_all();
  });
  bool in_time = true;
  {
    const MutexLock lock(state.mutex);
    while (!state.ready && in_time) in_time = state.changed.wait_until(state.mutex, Clock::now() + 30s);
  }
  setter.join();
  EXPECT_TRUE(in_time);
}

}  // namespace
}  // namespace backplane
