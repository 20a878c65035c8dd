#include "cli/history_reader.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "cli/retained_reader.hpp"
#include "cli/silence.hpp"
#include "follower/follower.hpp"

namespace backplane::cli {
namespace {

using Clock = Waiter::Clock;

/// One reading. Lives on the main thread; owns its connections, and subscribes to nothing.
class HistoryReader final : public ReaderListener {
 public:
  HistoryReader(mq::Context& context, const std::vector<BrokerEndpoints>& brokers,
                const std::function<bool(const Delivery&)>& take, Waiter& waiter)
      : brokers_(brokers),
        take_(take),
        waiter_(waiter),
        follower_(context, follower_options(brokers), *this) {}

  Result<HistoryHoles> read(const std::string& pattern, const ReplayFrom& from,
                            std::chrono::milliseconds limit) {
    follower_.replay(pattern, from);
    last_word_ = Clock::now();
    while (!over_ && !waiter_.stopped() && Clock::now() < last_word_ + limit) turn(last_word_ + limit);
    if (problem_) return tl::unexpected(*problem_);
    if (over_ || waiter_.stopped()) return holes_;
    const auto waited = std::chrono::ceil<std::chrono::milliseconds>(Clock::now() - last_word_);
    if (follower_.status().control_connected) {
      return fail(ErrorCode::timeout, "the broker did not answer within " + waited_text(waited));
    }
    std::vector<std::string> endpoints;
    for (const BrokerEndpoints& each : brokers_) endpoints.push_back(each.control);
    return tl::unexpected(no_broker(endpoints, waited, waiter_));
  }

  void on_event(const Delivery&) override {}
  void on_live(std::uint64_t) override {}
  void on_connection(bool) override {}
  void on_retained(std::uint64_t, const Delivery&) override {}
  void on_retained_end(std::uint64_t, const RetainedEnd&) override {}
  void on_replayed(std::uint64_t, const Delivery& delivery) override {
    if (!over_ && !take_(delivery)) over_ = true;
  }
  void on_replay_slice(std::uint64_t request, const ReplaySlice& slice) override {
    last_word_ = Clock::now();
    if (slice.gone) {
      ++holes_.gone;
      holes_.text = fmt::format("history before position {} is gone", slice.gone->first_available);
    }
    if (slice.reset) {
      holes_.reset = true;
      holes_.text = fmt::format("the broker's stream is {:016x}, and not {:016x}", slice.reset->new_stream,
                                slice.reset->old_stream);
    }
    if (slice.error) problem_ = slice.error;
    over_ = over_ || slice.complete || slice.error;
    if (!over_) follower_.replay_more(request);
  }

 private:
  void turn(Clock::time_point until) {
    if (follower_.do_work(Clock::now()) > 0 || follower_.pending()) {
      (void)waiter_.wait({}, Clock::time_point::min());
      return;
    }
    (void)waiter_.wait(follower_.fds(), std::min(until, follower_.next_deadline()));
  }

  std::vector<BrokerEndpoints> brokers_;
  const std::function<bool(const Delivery&)>& take_;
  Waiter& waiter_;
  Clock::time_point last_word_{};
  bool over_{};
  std::optional<Error> problem_;
  HistoryHoles holes_;
  Follower follower_;  // last: it may call us
};

}  // namespace

Result<HistoryHoles> read_history(mq::Context& context, const std::vector<BrokerEndpoints>& brokers,
                                  const std::string& pattern, const ReplayFrom& from,
                                  const std::function<bool(const Delivery&)>& take, Waiter& waiter,
                                  std::chrono::milliseconds limit) {
  return HistoryReader(context, brokers, take, waiter).read(pattern, from, limit);
}

}  // namespace backplane::cli
