#include "gateway/upstream/upstream_subscriptions.hpp"

namespace backplane::gateway {

std::uint64_t UpstreamSubscriptions::add(std::string_view prefix) {
  auto known = wanted_.find(prefix);
  if (known != wanted_.end()) {
    ++known->second.count;
    return known->second.ticket;
  }
  Wanted& wanted =
      wanted_.emplace(prefix, Wanted{.count = 1, .ticket = 0, .subscribed = false}).first->second;
  if (mode_ == Mode::to_everything || mode_ == Mode::everything) {
    wanted.ticket = everything_ticket_;
    return wanted.ticket;
  }
  wanted.ticket = broker_->subscribe(prefix);
  wanted.subscribed = true;
  if (mode_ == Mode::each && wanted_.size() > prefixes_max_) {
    everything_ticket_ = broker_->subscribe("");
    mode_ = Mode::to_everything;
  }
  return wanted.ticket;
}

void UpstreamSubscriptions::remove(std::string_view prefix) {
  const auto known = wanted_.find(prefix);
  if (known == wanted_.end() || --known->second.count > 0) return;
  if (known->second.subscribed) broker_->unsubscribe(prefix);
  wanted_.erase(known);
  if (mode_ != Mode::everything || wanted_.size() > prefixes_max_ / 2) return;
  mode_ = Mode::to_each;
  each_ticket_ = everything_ticket_;
  for (auto& [each, wanted] : wanted_) {
    wanted.ticket = each_ticket_ = broker_->subscribe(each);
    wanted.subscribed = true;
  }
  on_live(live_ticket_);  // with nothing left that is wanted, nothing is to be waited for
}

void UpstreamSubscriptions::on_live(std::uint64_t ticket) {
  live_ticket_ = ticket;
  if (mode_ == Mode::to_everything && ticket >= everything_ticket_) {
    mode_ = Mode::everything;
    for (auto& [prefix, wanted] : wanted_) {
      if (wanted.subscribed) broker_->unsubscribe(prefix);
      wanted.subscribed = false;
    }
  } else if (mode_ == Mode::to_each && ticket >= each_ticket_) {
    mode_ = Mode::each;
    broker_->unsubscribe("");
  }
}

}  // namespace backplane::gateway
