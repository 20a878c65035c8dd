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

// Replies are of 256 KiB at most; one event that is larger travels alone, but none is asked for here.
constexpr std::int64_t message_bytes_max = 16 << 20;

}  // namespace

class BrokerControl::Impl {
 public:
  Impl(mq::Context& context, Options options)
      : options_(std::move(options)),
        channel_(context, options_.control, message_bytes_max),
        requests_(channel_, options_.answer_limit) {
    channel_.release();
  }

  follower::ControlRequests& requests() noexcept { return requests_; }
  follower::ControlChannel& channel() noexcept { return channel_; }
  [[nodiscard]] const follower::ControlChannel& channel() const noexcept { return channel_; }

  /// `send` sends the request, with the handler that it is given.
  template <class T, class Send>
  Result<T> wait_for(std::chrono::milliseconds limit, Send send) {
    const auto reply = std::make_shared<std::optional<Result<T>>>();  // may come when we no longer wait
    send([reply](Result<T> result) { *reply = std::move(result); });
    const Clock::time_point until = Clock::now() + limit;
    for (Clock::time_point now = Clock::now(); !*reply; now = Clock::now()) {
      if (channel_.do_work(now) > 0) continue;
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
                fmt::format("the broker at {} did not answer within {} ms", options_.control, limit.count()));
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

Result<TopicsPage> BrokerControl::topics(std::string_view pattern, std::string_view cursor,
                                         std::chrono::milliseconds limit) {
  return impl_->wait_for<TopicsPage>(
      limit, [&](auto handler) { impl_->requests().topics(pattern, cursor, std::move(handler)); });
}

Result<std::vector<TopicInfo>> BrokerControl::all_topics(std::string_view pattern, std::size_t topics_max,
                                                         std::chrono::milliseconds limit) {
  const Clock::time_point until = Clock::now() + limit;
  std::vector<TopicInfo> all;
  std::string cursor;
  do {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    auto page = topics(pattern, cursor, std::max(left, std::chrono::milliseconds{0}));
    if (!page) return tl::unexpected(page.error());
    if (all.size() + page->topics.size() > topics_max) {
      return fail(ErrorCode::exhausted,
                  fmt::format("topics \"{}\": more than {} of them match", pattern, topics_max));
    }
    std::move(page->topics.begin(), page->topics.end(), std::back_inserter(all));
    cursor = std::move(page->cursor);
  } while (!cursor.empty());
  return all;
}

Result<TypesReply> BrokerControl::types(const std::vector<std::string>& names,
                                        std::chrono::milliseconds limit) {
  return impl_->wait_for<TypesReply>(
      limit, [&](auto handler) { impl_->requests().types(names, std::move(handler)); });
}

Result<BrokerStats> BrokerControl::stats(std::chrono::milliseconds limit) {
  return impl_->wait_for<BrokerStats>(limit,
                                      [&](auto handler) { impl_->requests().stats(std::move(handler)); });
}

Result<void> BrokerControl::drain(std::chrono::milliseconds limit) {
  return impl_->wait_for<void>(limit, [&](auto handler) { impl_->requests().drain(std::move(handler)); });
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

}  // namespace backplane
