#include "links/backplanes.hpp"

#include <algorithm>

#include "backplane/v1/control.pb.h"
#include "follower/order/delivery.hpp"

namespace backplane::links {
namespace {

constexpr std::int64_t reply_bytes_max = 1 << 20;
constexpr std::chrono::milliseconds request_timeout{2000};

}  // namespace

BackplaneLookup::BackplaneLookup(mq::Context& context, const std::vector<std::string>& controls,
                                 const mq::SharedKeys& keys, std::string name)
    : name_(std::move(name)) {
  for (const std::string& control : controls) {
    brokers_.push_back(std::make_unique<Broker>());
    brokers_.back()->channel =
        std::make_unique<follower::ControlChannel>(context, control, keys, reply_bytes_max);
  }
}

/// Any request would do. This one changes nothing at the broker.
void BackplaneLookup::request(Broker& broker) {
  broker.requested = true;
  v1::ControlRequest request;
  request.mutable_admitted()->set_source(name_);
  request.mutable_admitted()->set_session(1);
  broker.channel->send(request, request_timeout, follower::ControlChannel::Urgency::can_wait,
                       [this, &broker, alive = alive_.token()](const Result<const v1::ControlReply*>& reply) {
                         if (alive.expired()) return;
                         broker.requested = false;
                         // A broker that refuses to reply stays unknown.
                         broker.replied = reply || reply.error().code != ErrorCode::timeout;
                         if (!reply) return;
                         found_.push_back(origin((*reply)->stream()));
                       });
}

std::size_t BackplaneLookup::do_work(Clock::time_point now) {
  std::size_t done = 0;
  for (const auto& broker : brokers_) {
    if (!broker->requested && !broker->replied) request(*broker);
    done += broker->channel->do_work(now);
  }
  done += std::erase_if(brokers_, [](const auto& each) { return each->replied; });
  return done;
}

std::vector<int> BackplaneLookup::fds() {
  std::vector<int> fds;
  for (const auto& broker : brokers_) broker->channel->add_fds(fds);
  return fds;
}

bool BackplaneLookup::pending() {
  return std::ranges::any_of(brokers_, [](const auto& each) { return each->channel->pending(); });
}

BackplaneLookup::Clock::time_point BackplaneLookup::next_deadline() const {
  auto earliest = Clock::time_point::max();
  for (const auto& broker : brokers_) earliest = std::min(earliest, broker->channel->next_deadline());
  return earliest;
}

}  // namespace backplane::links
