#include "follower/control/reply_size.hpp"

#include <algorithm>

namespace backplane::follower {

std::size_t ReplySize::next(Clock::time_point now) {
  if (now - measured_ > valid) size_ = std::min(size_, first);
  return size_;
}

ReplySize::Clock::duration ReplySize::latency() const {
  const auto end = waits_.begin() + static_cast<std::ptrdiff_t>(std::min(waits_count_, waits_.size()));
  return *std::min_element(waits_.begin(), end);
}

void ReplySize::on_reply(const Measured& reply, Clock::time_point now) {
  Clock::duration took = reply.waited;
  if (reply.alone) {
    waits_[waits_count_++ % waits_.size()] = took;
    took -= latency();
  }
  if (reply.bytes < least) return;  // it says nothing about the rate
  took = std::max<Clock::duration>(took, std::chrono::milliseconds{1});
  const double in_target = static_cast<double>(reply.bytes) * (std::chrono::duration<double>(target) / took);
  const auto fits = static_cast<std::size_t>(std::clamp<double>(in_target, least, most));
  const bool is_full = 2 * reply.bytes >= reply.requested;
  if (!is_full && fits >= size_) return;  // a larger one has not been tried
  size_ = is_full ? std::min(fits, std::max(2 * reply.requested, least)) : fits;
  measured_ = now;
}

}  // namespace backplane::follower
