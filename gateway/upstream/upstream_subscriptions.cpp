#include "gateway/upstream/upstream_subscriptions.hpp"

namespace backplane::gateway {

std::uint64_t UpstreamSubscriptions::add(std::string_view prefix) {
  auto known = prefixes_.find(prefix);
  if (known != prefixes_.end()) {
    ++known->second.count;
    return known->second.ticket;
  }
  Prefix& added =
      prefixes_.emplace(prefix, Prefix{.count = 1, .ticket = 0, .subscribed = false}).first->second;
  if (mode_ == Mode::to_everything || mode_ == Mode::everything) {
    added.ticket = everything_ticket_;
    return added.ticket;
  }
  added.ticket = broker_->subscribe(prefix);
  added.subscribed = true;
  if (mode_ == Mode::each && prefixes_.size() > prefixes_max_) {
    everything_ticket_ = broker_->subscribe("");
    mode_ = Mode::to_everything;
  }
  return added.ticket;
}

void UpstreamSubscriptions::remove(std::string_view prefix) {
  const auto known = prefixes_.find(prefix);
  if (known == prefixes_.end() || --known->second.count > 0) return;
  if (known->second.subscribed) broker_->unsubscribe(prefix);
  prefixes_.erase(known);
  if (mode_ != Mode::everything || prefixes_.size() > prefixes_max_ / 2) return;
  mode_ = Mode::to_each;
  each_ticket_ = everything_ticket_;
  for (auto& [text, each] : prefixes_) {
    each.ticket = each_ticket_ = broker_->subscribe(text);
    each.subscribed = true;
  }
  on_live(live_ticket_);  // without prefixes, there is no ticket to wait for
}

void UpstreamSubscriptions::on_live(std::uint64_t ticket) {
  live_ticket_ = ticket;
  if (mode_ == Mode::to_everything && ticket >= everything_ticket_) {
    mode_ = Mode::everything;
    for (auto& [text, each] : prefixes_) {
      if (each.subscribed) broker_->unsubscribe(text);
      each.subscribed = false;
    }
  } else if (mode_ == Mode::to_each && ticket >= each_ticket_) {
    mode_ = Mode::each;
    broker_->unsubscribe("");
  }
}

}  // namespace backplane::gateway
