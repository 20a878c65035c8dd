#include "cli/connection/waiter.hpp"

#include <algorithm>
#include <utility>

#include <poll.h>

#include "core/time/deadline.hpp"

namespace backplane::cli {

struct Waiter::Waiting {
  std::vector<pollfd> descriptors;
};

void Waiter::on_readable(int fd, std::function<void()> handler) {
  watched_.push_back({fd, POLLIN, std::move(handler)});
}

void Waiter::on_hangup(int fd, std::function<void()> handler) {
  watched_.push_back({fd, 0, std::move(handler)});
}

void Waiter::remove(int fd) {
  std::erase_if(watched_, [fd](const Watched& each) { return each.fd == fd; });
}

void Waiter::poll(Waiting& waiting, Clock::time_point until) {
  const int timeout = poll_timeout(until, Clock::now());
  // A signal handler makes poll() return early, which every caller's loop allows for.
  if (::poll(waiting.descriptors.data(), waiting.descriptors.size(), timeout) <= 0) return;
  for (std::size_t at = 0; at < watched_.size(); ++at) {
    const short happened = waiting.descriptors[at].revents;
    const int relevant = watched_[at].events == 0 ? POLLERR | POLLHUP | POLLNVAL : POLLHUP | POLLERR | POLLIN;
    if ((happened & relevant) != 0) watched_[at].handler();
  }
}

bool Waiter::wait(std::span<const int> fds, Clock::time_point until) {
  if (stopped_) return false;
  Waiting waiting;
  for (const Watched& each : watched_) waiting.descriptors.push_back({each.fd, each.events, 0});
  for (const int fd : fds) waiting.descriptors.push_back({fd, POLLIN, 0});
  poll(waiting, until);
  return !stopped_;
}

bool Waiter::wait_writable(int fd, Clock::time_point until) {
  if (stopped_) return false;
  Waiting waiting;
  for (const Watched& each : watched_) waiting.descriptors.push_back({each.fd, each.events, 0});
  waiting.descriptors.push_back({fd, POLLOUT, 0});
  poll(waiting, until);
  return !stopped_ && waiting.descriptors.back().revents != 0;
}

}  // namespace backplane::cli
