#include "publishers/sources/pace.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <system_error>

#include <sys/timerfd.h>
#include <unistd.h>

namespace backplane::sources {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

}  // namespace

std::int64_t next_tick(std::int64_t now_ns, std::chrono::nanoseconds every) noexcept {
  const std::int64_t interval = every.count();
  const std::int64_t into = ((now_ns % interval) + interval) % interval;
  return now_ns - into + interval;
}

std::int64_t EvenPace::next(std::int64_t now_ns) noexcept {
  const auto due = [this] {
    const long double after = static_cast<long double>(events_) / static_cast<long double>(rate_);
    return start_ns_ + std::llroundl(after * static_cast<long double>(second_ns));
  };
  if (due() + second_ns < now_ns) {
    start_ns_ = now_ns;
    events_ = 0;
  }
  const std::int64_t at = due();
  ++events_;
  return at;
}

std::int64_t DataPace::next(std::int64_t data_ns, std::int64_t now_ns) noexcept {
  // At a very slow pace the result would exceed 64 bits. Nobody waits that long.
  constexpr long double ahead_max_ns = 1e18L;
  const bool went_back = !begun_ || data_ns < last_data_ns_;
  const long double ahead_ns =
      (static_cast<long double>(data_ns) - static_cast<long double>(begin_data_ns_)) /
      static_cast<long double>(speed_);
  const std::int64_t due_ns = begin_ns_ + std::llroundl(std::min(ahead_ns, ahead_max_ns));
  last_data_ns_ = data_ns;
  if (!went_back && due_ns + second_ns >= now_ns) return due_ns;
  begun_ = true;
  begin_data_ns_ = data_ns;
  begin_ns_ = now_ns;
  return now_ns;
}

Timer::Timer(clockid_t clock) : clock_(clock), fd_(timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "timerfd_create");
}

Timer::~Timer() {
  ::close(fd_);
}

void Timer::set(std::int64_t due_ns) {
  const std::int64_t at = std::max<std::int64_t>(due_ns, 1);  // 0 would disarm it
  itimerspec when{};
  when.it_value = {at / second_ns, at % second_ns};
  const int flags = TFD_TIMER_ABSTIME | (clock_ == CLOCK_REALTIME ? TFD_TIMER_CANCEL_ON_SET : 0);
  // ECANCELED: the clock was set since the last call. The kernel has set the timer nevertheless.
  if (timerfd_settime(fd_, flags, &when, nullptr) != 0 && errno != ECANCELED) {
    throw std::system_error(errno, std::generic_category(), "timerfd_settime");
  }
}

std::int64_t Timer::now_ns() const noexcept {
  timespec now{};
  clock_gettime(clock_, &now);
  return now.tv_sec * second_ns + now.tv_nsec;
}

}  // namespace backplane::sources
