#include "core/process/wake_fd.hpp"

#include <thread>

#include <gtest/gtest.h>
#include <poll.h>

namespace backplane {
namespace {

bool readable(const WakeFd& wake, int timeout_ms) {
  pollfd waiting{wake.fd(), POLLIN, 0};
  return ::poll(&waiting, 1, timeout_ms) == 1;
}

TEST(WakeFd, IsReadableFromWakeUntilDrain) {
  const WakeFd wake;
  EXPECT_FALSE(readable(wake, 0));
  wake.wake();
  wake.wake();
  EXPECT_TRUE(readable(wake, 0));
  EXPECT_TRUE(readable(wake, 0));
  wake.drain();
  EXPECT_FALSE(readable(wake, 0));
}

TEST(WakeFd, CanBeDrainedWithoutAWake) {
  const WakeFd wake;
  wake.drain();  // would hang if it blocked
  wake.wake();
  EXPECT_TRUE(readable(wake, 0));
}

TEST(WakeFd, WakesAThreadThatPolls) {
  const WakeFd wake;
  std::thread other([&wake] { wake.wake(); });
  EXPECT_TRUE(readable(wake, 60'000));
  other.join();
}

}  // namespace
}  // namespace backplane
