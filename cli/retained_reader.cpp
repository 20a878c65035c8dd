#include "cli/retained_reader.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "cli/silence.hpp"
#include "follower/follower.hpp"

namespace backplane::cli {
Follower::Options follower_options(const std::vector<BrokerEndpoints>& brokers) {
  Follower::Options options;
  options.brokers = brokers;
  options.max_event_bytes = readable_event_bytes_max;
  return options;
}

/// What a Follower says of retained values, gathered.
class RetainedReader::Impl final : public ReaderListener {
 public:
  using Clock = Waiter::Clock;

  Impl(mq::Context& context, const std::vector<BrokerEndpoints>& brokers, Waiter& waiter)
      : brokers_(brokers), waiter_(waiter), follower_(context, follower_options(brokers), *this) {}

  Result<std::vector<StoredValue>> read(const std::vector<std::string>& patterns,
                                        std::chrono::milliseconds limit) {
    const auto begun = Clock::now();
    values_.clear();
    problem_.reset();
    for (const std::string& pattern : patterns) open_.push_back(follower_.retained(pattern));
    while (!open_.empty() && !problem_ && !waiter_.stopped() && Clock::now() < begun + limit) {
      turn(begun + limit);
    }
    for (const std::uint64_t request : std::exchange(open_, {})) {
      if (!problem_) problem_ = silence(std::chrono::ceil<std::chrono::milliseconds>(Clock::now() - begun));
      follower_.cancel(request);
    }
    if (problem_) return tl::unexpected(*problem_);
    return std::move(values_);
  }

  void on_event(const Delivery&) override {}
  void on_live(std::uint64_t) override {}
  void on_connection(bool) override {}
  void on_retained(std::uint64_t, const Delivery& delivery) override {
    const std::string_view bytes(reinterpret_cast<const char*>(delivery.event.data()), delivery.event.size());
    values_.push_back({std::string(delivery.topic), std::string(bytes), delivery.stamp});
  }
  void on_retained_end(std::uint64_t request, const RetainedEnd& end) override {
    std::erase(open_, request);
    if (end.error && !problem_) problem_ = end.error;
  }

 private:
  void turn(Clock::time_point until) {
    if (follower_.do_work(Clock::now()) > 0 || follower_.pending()) {
      (void)waiter_.wait({}, Clock::time_point::min());
      return;
    }
    (void)waiter_.wait(follower_.fds(), std::min(until, follower_.next_deadline()));
  }

  Error silence(std::chrono::milliseconds waited) {
    if (follower_.status().control_connected && !waiter_.stopped()) {
      return {ErrorCode::timeout, "the broker did not answer within " + waited_text(waited)};
    }
    std::vector<std::string> endpoints;
    for (const BrokerEndpoints& each : brokers_) endpoints.push_back(each.control);
    return no_broker(endpoints, waited, waiter_);
  }

  std::vector<BrokerEndpoints> brokers_;
  Waiter& waiter_;
  std::vector<std::uint64_t> open_;  // requests
  std::vector<StoredValue> values_;
  std::optional<Error> problem_;
  Follower follower_;  // last: it may call us
};

RetainedReader::RetainedReader(mq::Context& context, const std::vector<BrokerEndpoints>& brokers,
                               Waiter& waiter)
    : impl_(std::make_unique<Impl>(context, brokers, waiter)) {}
RetainedReader::~RetainedReader() = default;

Result<std::vector<StoredValue>> RetainedReader::read(const std::vector<std::string>& patterns,
                                                      std::chrono::milliseconds limit) {
  return impl_->read(patterns, limit);
}

}  // namespace backplane::cli
