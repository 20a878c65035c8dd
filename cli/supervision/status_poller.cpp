#include "cli/supervision/status_poller.hpp"

#include <utility>

#include "cli/console/counters.hpp"
#include "follower/control/broker_control.hpp"

namespace backplane::cli {

StatusNumbers status_numbers(const BrokerStats& stats) {
  StatusNumbers numbers;
  numbers.events_in = counter(stats.counters, "received_total");
  for (const ParticipantInfo& who : stats.participants) {
    if (who.role != ParticipantInfo::Role::gateway) continue;
    if (who.up) numbers.clients += counter(who.counters, "clients");
    numbers.deliveries_out += counter(who.counters, "delivered_total");
  }
  return numbers;
}

StatusPoller::StatusPoller(mq::Context& context, const std::string& control, const mq::SharedKeys& keys)
    : control_(std::make_unique<BrokerControl>(context,
                                               BrokerControl::Options{.control = control, .keys = keys})) {}
StatusPoller::~StatusPoller() = default;

void StatusPoller::request() {
  if (std::exchange(outstanding_, true)) return;
  control_->requests().stats([this](const Result<BrokerStats>& stats) {
    outstanding_ = false;
    if (!stats) return;  // the next request may succeed
    numbers_ = status_numbers(*stats);
    fresh_ = true;
  });
}

bool StatusPoller::receive() {
  control_->do_work(Clock::now());
  return std::exchange(fresh_, false);
}

int StatusPoller::fd() {
  return control_->fds().front();
}

}  // namespace backplane::cli
