#include "cli/connection/confirmed_publisher.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "cli/connection/endpoint_diagnosis.hpp"
#include "core/credentials/broker_keys.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using Clock = Waiter::Clock;

/// How long other brokers may take to connect if one does not accept our keys.
constexpr std::chrono::milliseconds key_problem_patience{1500};

Publisher::Options publisher_options(const std::string& name, const std::vector<BrokerEndpoints>& brokers,
                                     std::size_t max_event_bytes, const WakeFd& changed) {
  Publisher::Options options;
  options.source = default_name(name, brokers.front().keys);
  options.brokers.clear();
  for (const BrokerEndpoints& broker : brokers) options.brokers.push_back({broker.ingress, broker.control});
  options.credentials = mq::files_of(brokers.front().keys);
  options.max_event_bytes = max_event_bytes;
  options.unconfirmed_bytes_max = std::max(options.unconfirmed_bytes_max, 2 * max_event_bytes);
  options.on_change = [&changed](const PublisherStatus&) { changed.wake(); };
  return options;
}

}  // namespace

ConfirmedPublisher::ConfirmedPublisher(const std::string& name, const std::vector<BrokerEndpoints>& brokers,
                                       std::size_t max_event_bytes, Waiter& waiter,
                                       std::function<void(std::string_view)> on_notice)
    : brokers_(brokers),
      waiter_(waiter),
      on_notice_(std::move(on_notice)),
      publisher_(publisher_options(name, brokers, max_event_bytes, changed_)) {
  waiter_.on_readable(changed_.fd(), [this] { report(); });
}

ConfirmedPublisher::~ConfirmedPublisher() {
  waiter_.remove(changed_.fd());
}

std::string ConfirmedPublisher::endpoints() const {
  std::string all;
  for (const BrokerEndpoints& broker : brokers_) all += (all.empty() ? "" : ", ") + broker.ingress;
  return all;
}

/// Reports only a connection that is lost and back. finish() reports that there was no broker at all.
void ConfirmedPublisher::report() {
  changed_.drain();
  const PublisherStatus status = publisher_.status();
  if (was_ready_ && !status.ready && !reported_lost_) {
    reported_lost_ = true;
    on_notice_(fmt::format("lost the connection to the broker at {}; reconnecting", endpoints()));
  } else if (status.ready && reported_lost_) {
    reported_lost_ = false;
    on_notice_(fmt::format("connected to the broker at {}", endpoints()));
  }
  was_ready_ = was_ready_ || status.ready;
}

std::string ConfirmedPublisher::wait_ready(std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  auto refusal_check = Clock::now() + refusal_patience;
  const auto key_problem_end = Clock::now() + (brokers_.size() == 1 ? 0ms : key_problem_patience);
  for (;;) {
    const PublisherStatus status = publisher_.status();
    const bool has_key_problem = !status.key_problem.empty();
    if (status.ready || Clock::now() >= until) break;
    if (has_key_problem && Clock::now() >= key_problem_end) return status.key_problem;
    if (!waiter_.wait({}, std::min({until, refusal_check, has_key_problem ? key_problem_end : until}))) break;
    if (Clock::now() < refusal_check || publisher_.status().ready) continue;
    refusal_check = Clock::time_point::max();
    std::vector<std::string> endpoints;
    for (const BrokerEndpoints& each : brokers_) endpoints.push_back(each.ingress);
    if (const auto nobody = nothing_listens(endpoints, waiter_)) return nobody->text;
  }
  return {};
}

Offer ConfirmedPublisher::offer(const std::function<Offer(Publisher&)>& offer,
                                std::chrono::milliseconds limit) {
  std::uint64_t confirmed = publisher_.status().confirmed;
  auto until = Clock::now() + limit;
  for (;;) {
    const Offer result = offer(publisher_);
    if (result != Offer::backpressured || waiter_.stopped() || Clock::now() >= until) return result;
    publisher_.request_confirmation();
    (void)waiter_.wait({}, until);  // returns at every change of the publisher's status
    if (const std::uint64_t now = publisher_.status().confirmed; now != confirmed) {
      confirmed = now;
      until = Clock::now() + limit;
    }
  }
}

std::string ConfirmedPublisher::finish(std::chrono::milliseconds limit) {
  publisher_.request_confirmation();
  std::uint64_t confirmed = publisher_.status().confirmed;
  auto until = Clock::now() + limit;
  // After a signal, close() below still waits up to 1 s for the events that were sent.
  for (PublisherStatus status = publisher_.status();
       status.confirmed < status.offered && Clock::now() < until && !waiter_.stopped() &&
       (status.key_problem.empty() || brokers_.size() > 1);
       status = publisher_.status()) {
    (void)waiter_.wait({}, until);
    if (const std::uint64_t now = publisher_.status().confirmed; now != confirmed) {
      confirmed = now;
      until = Clock::now() + limit;
    }
  }
  const bool all = publisher_.close(waiter_.stopped() ? std::min<std::chrono::milliseconds>(limit, 1s) : 0ms);
  const PublisherStatus status = publisher_.status();
  if (all) return {};
  if (status.refused > 0) {
    return fmt::format("the broker at {} refused {} of {} events: {}", endpoints(), status.refused,
                       status.offered, status.last_problem);
  }
  const std::string_view what = status.offered == 1 ? "the event" : "all events";
  return fmt::format("no broker at {} confirmed {} within {}: {}", endpoints(), what, waited_text(limit),
                     !status.key_problem.empty() ? status.key_problem
                     : was_ready_
                         ? fmt::format("{} of {} are confirmed{}{}", status.confirmed, status.offered,
                                       status.last_problem.empty() ? "" : "; ", status.last_problem)
                         : diagnose(brokers_.back().ingress, waiter_).text);
}

}  // namespace backplane::cli
