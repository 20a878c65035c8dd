#include "follower/control/broker_control.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <poll.h>

#include "core/time/deadline.hpp"
#include "follower/control/control_channel.hpp"

namespace backplane {
namespace {

// Replies have at most 256 KiB. Only a larger event can exceed that, and none is requested here.
constexpr std::int64_t message_bytes_max = 16 << 20;

}  // namespace

class BrokerControl::Impl {
 public:
  Impl(mq::Context& context, Options options)
      : options_(std::move(options)),
        channel_(context, options_.control, options_.keys, message_bytes_max),
        requests_(channel_, options_.reply_timeout) {
    channel_.release();
  }

  follower::ControlRequests& requests() noexcept { return requests_; }
  follower::ControlChannel& channel() noexcept { return channel_; }
  [[nodiscard]] const follower::ControlChannel& channel() const noexcept { return channel_; }

  /// Blocks until the reply, at most `limit`. `send` sends the request with the handler that it receives.
  template <class T, class Send>
  Result<T> wait_for(std::chrono::milliseconds limit, Send send) {
    const auto reply = std::make_shared<std::optional<Result<T>>>();  // may come after the limit
    send([reply](Result<T> result) { *reply = std::move(result); });
    const Clock::time_point until = Clock::now() + limit;
    for (Clock::time_point now = Clock::now(); !*reply; now = Clock::now()) {
      if (channel_.do_work(now) > 0) continue;
      if (std::string problem = channel_.keys().text(); !problem.empty())
        return fail(ErrorCode::unavailable, std::move(problem));
      if (now >= until) return no_reply(limit);
      sleep(until);
    }
    return std::move(**reply);
  }

 private:
  [[nodiscard]] tl::unexpected<Error> no_reply(std::chrono::milliseconds limit) const {
    if (!channel_.connected()) {
      return fail(ErrorCode::unavailable,
                  fmt::format("no broker at {} within {} ms", options_.control, limit.count()));
    }
    return fail(ErrorCode::timeout,
                fmt::format("the broker at {} did not reply within {} ms", options_.control, limit.count()));
  }

  void sleep(Clock::time_point until) {
    if (channel_.pending()) return;
    std::vector<int> fds;
    channel_.add_fds(fds);
    std::vector<pollfd> waiting;
    for (const int fd : fds) waiting.push_back({fd, POLLIN, 0});
    const int timeout = poll_timeout(std::min(until, channel_.next_deadline()), Clock::now());
    ::poll(waiting.data(), waiting.size(), timeout);
  }

  Options options_;
  follower::ControlChannel channel_;
  follower::ControlRequests requests_;
};

BrokerControl::BrokerControl(mq::Context& context, Options options)
    : impl_(std::make_unique<Impl>(context, std::move(options))) {}
BrokerControl::~BrokerControl() = default;

Result<TypesReply> BrokerControl::types(const std::vector<std::string>& names,
                                        std::chrono::milliseconds limit) {
  return impl_->wait_for<TypesReply>(
      limit, [&](auto handler) { impl_->requests().types(names, std::move(handler)); });
}

follower::ControlRequests& BrokerControl::requests() noexcept {
  return impl_->requests();
}
std::size_t BrokerControl::do_work(Clock::time_point now) {
  return impl_->channel().do_work(now);
}
std::vector<int> BrokerControl::fds() {
  std::vector<int> fds;
  impl_->channel().add_fds(fds);
  return fds;
}
bool BrokerControl::pending() {
  return impl_->channel().pending();
}
BrokerControl::Clock::time_point BrokerControl::next_deadline() const {
  return impl_->channel().next_deadline();
}
bool BrokerControl::connected() const noexcept {
  return impl_->channel().connected();
}
std::string BrokerControl::key_problem() const {
  return impl_->channel().keys().text();
}

}  // namespace backplane
