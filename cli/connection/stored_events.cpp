#include "cli/connection/stored_events.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "cli/connection/endpoint_diagnosis.hpp"
#include "follower/broker_group.hpp"

namespace backplane::cli {
namespace {

/// How long other brokers may take to reply if one does not accept our keys.
constexpr std::chrono::milliseconds key_problem_patience{1500};

BrokerGroup::Options reader_options(const std::vector<BrokerEndpoints>& brokers) {
  BrokerGroup::Options options;
  options.brokers = brokers;
  options.follower.max_event_bytes = readable_event_bytes_max;
  options.follower.control_only = true;
  return options;
}

}  // namespace

/// Collects what the brokers reply.
class StoredEvents::Impl final : public ReaderListener {
 public:
  using Clock = Waiter::Clock;

  Impl(mq::Context& context, const std::vector<BrokerEndpoints>& brokers, Waiter& waiter)
      : brokers_(brokers), waiter_(waiter), reader_(context, reader_options(brokers), *this) {}

  Result<std::vector<StoredEvent>> last_values(const std::vector<std::string>& patterns,
                                               std::chrono::milliseconds limit) {
    const auto begun = Clock::now();
    values_.clear();
    problem_.reset();
    for (const std::string& pattern : patterns) requests_.push_back(reader_.retained(pattern));
    refusal_check_ = begun + refusal_patience;
    key_problem_end_ = begun + key_problem_patience;
    while (!requests_.empty() && !problem_ && !waiter_.stopped() && Clock::now() < begun + limit) {
      turn(begun + limit);
    }
    for (const std::uint64_t request : std::exchange(requests_, {})) {
      if (!problem_) problem_ = no_reply(begun);
      reader_.cancel(request);
    }
    if (problem_) return tl::unexpected(*problem_);
    return std::move(values_);
  }

  Result<std::string> replay(const std::string& pattern, const ReplayFrom& from,
                             const std::function<bool(const Delivery&)>& take,
                             std::chrono::milliseconds silence_limit) {
    take_ = &take;
    replaying_ = true;
    missing_.clear();
    destroyed_ = 0;
    problem_.reset();
    last_reply_ = Clock::now();
    refusal_check_ = last_reply_ + refusal_patience;
    key_problem_end_ = last_reply_ + key_problem_patience;
    const std::uint64_t request = reader_.replay(pattern, from);
    while (replaying_ && !problem_ && !waiter_.stopped() && Clock::now() < last_reply_ + silence_limit) {
      turn(last_reply_ + silence_limit);
    }
    reader_.cancel(request);
    if (replaying_ && !problem_ && !waiter_.stopped()) problem_ = no_reply(last_reply_);
    if (problem_) return tl::unexpected(*problem_);
    if (destroyed_ == 0) return missing_;
    return fmt::format("{}{}the broker's store is damaged and has lost events: {} gap{}, the first one {}",
                       missing_, missing_.empty() ? "" : "; ", destroyed_, destroyed_ == 1 ? "" : "s",
                       first_destroyed_);
  }

  void on_event(const Delivery&) override {}
  void on_live(std::uint64_t) override {}
  void on_connection(bool) override {}

  void on_retained(std::uint64_t, const Delivery& delivery) override {
    const std::string_view bytes(reinterpret_cast<const char*>(delivery.event.data()), delivery.event.size());
    values_.push_back({std::string(delivery.topic), std::string(bytes), delivery.stamp});
  }

  void on_retained_end(std::uint64_t request, const RetainedEnd& end) override {
    std::erase(requests_, request);
    if (end.error && !problem_) problem_ = end.error;
  }

  void on_replayed(std::uint64_t, const Delivery& delivery) override {
    if (replaying_ && !(*take_)(delivery)) replaying_ = false;
  }

  void on_replayed_gap(std::uint64_t, const Gap& gap) override {
    if (++destroyed_ > 1) return;
    first_destroyed_ = fmt::format("{} {} to {}", gap.topic, gap.first, gap.last);
  }

  void on_replay_slice(std::uint64_t request, const ReplaySlice& slice) override {
    last_reply_ = Clock::now();
    if (slice.gone) missing_ = fmt::format("history before position {} is gone", slice.gone->first_available);
    if (slice.reset) {
      const auto [old_stream, new_stream] = *slice.reset;
      missing_ = old_stream == new_stream
                     ? fmt::format("the broker's stream {:016x} ends before this position", new_stream)
                     : fmt::format("expected stream {:016x}, got {:016x}", old_stream, new_stream);
    }
    if (slice.error) problem_ = slice.error;
    replaying_ = replaying_ && !slice.complete && !slice.error;
    if (replaying_) reader_.replay_more(request);
  }

 private:
  void turn(Clock::time_point until) {
    const FollowerStatus status = reader_.status();
    const bool connected = status.control_connected;
    if (Clock::now() >= refusal_check_ && !connected) {
      refusal_check_ = Clock::time_point::max();
      problem_ = nothing_listens(endpoints(), waiter_);
      if (problem_) return;
    }
    if (!connected) until = std::min(until, refusal_check_);
    if (!status.connected && !status.key_problem.empty()) {
      // Another broker may reply.
      if (brokers_.size() == 1 || Clock::now() >= key_problem_end_) {
        problem_ = {ErrorCode::unavailable, status.key_problem};
        return;
      }
      until = std::min(until, key_problem_end_);
    }
    if (reader_.do_work(Clock::now()) > 0 || reader_.pending()) {
      (void)waiter_.wait({}, Clock::time_point::min());
      return;
    }
    (void)waiter_.wait(reader_.fds(), std::min(until, reader_.next_deadline()));
  }

  [[nodiscard]] Error no_reply(Clock::time_point since) {
    const auto waited = std::chrono::ceil<std::chrono::milliseconds>(Clock::now() - since);
    if (reader_.status().control_connected && !waiter_.stopped()) {
      return {ErrorCode::timeout, "the broker did not reply within " + waited_text(waited)};
    }
    return no_broker(endpoints(), waited, waiter_);
  }

  [[nodiscard]] std::vector<std::string> endpoints() const {
    std::vector<std::string> all;
    for (const BrokerEndpoints& each : brokers_) all.push_back(each.control);
    return all;
  }

  std::vector<BrokerEndpoints> brokers_;
  Waiter& waiter_;
  std::optional<Error> problem_;
  Clock::time_point refusal_check_ = Clock::time_point::max();
  Clock::time_point key_problem_end_{};

  // While last_values() runs.
  std::vector<std::uint64_t> requests_;
  std::vector<StoredEvent> values_;

  // While replay() runs.
  const std::function<bool(const Delivery&)>* take_{};
  bool replaying_{};
  Clock::time_point last_reply_{};
  std::string missing_;
  std::size_t destroyed_{};  // gaps
  std::string first_destroyed_;

  BrokerGroup reader_;  // last, because its destructor may call us
};

StoredEvents::StoredEvents(mq::Context& context, const std::vector<BrokerEndpoints>& brokers, Waiter& waiter)
    : impl_(std::make_unique<Impl>(context, brokers, waiter)) {}
StoredEvents::~StoredEvents() = default;

Result<std::vector<StoredEvent>> StoredEvents::last_values(const std::vector<std::string>& patterns,
                                                           std::chrono::milliseconds limit) {
  return impl_->last_values(patterns, limit);
}

Result<std::string> StoredEvents::replay(const std::string& pattern, const ReplayFrom& from,
                                         const std::function<bool(const Delivery&)>& take,
                                         std::chrono::milliseconds silence_limit) {
  return impl_->replay(pattern, from, take, silence_limit);
}

}  // namespace backplane::cli
