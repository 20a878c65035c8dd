#include "follower/broker_connections.hpp"

#include <algorithm>

namespace backplane::follower {
namespace {

constexpr std::int64_t waiting_bytes_max = 512 << 20;
constexpr std::int64_t waiting_min = 16;
constexpr std::int64_t waiting_bounded_max = 1000;
constexpr int waiting_max = 100'000;

mq::SocketOptions egress_options(std::int64_t max_message_bytes, const mq::SharedKeys& keys,
                                 bool bounds_bytes) {
  mq::SocketOptions options;
  options.curve_client = mq::curve_of(keys);
  options.send_hwm = 0;  // subscriptions are messages too: above a limit, libzmq drops them silently
  options.receive_hwm = bounds_bytes ? static_cast<int>(std::clamp(waiting_bytes_max / max_message_bytes,
                                                                   waiting_min, waiting_bounded_max))
                                     : waiting_max;
  options.max_message_bytes = max_message_bytes;
  return options;
}

}  // namespace

BrokerConnections::BrokerConnections(mq::Context& context, const BrokerEndpoints& broker,
                                     std::int64_t max_message_bytes, bool has_egress, bool bounds_bytes)
    : sub_(context, zmq::socket_type::sub, egress_options(max_message_bytes, broker.keys, bounds_bytes)),
      control_(context, broker.control, broker.keys, max_message_bytes) {
  if (has_egress) egress_.emplace(context, sub_, broker.egress, broker.keys);
}

const mq::KeyCheck& BrokerConnections::keys() const noexcept {
  const bool is_egress = egress_ && egress_->keys().problem() != mq::KeyProblem::none;
  return is_egress ? egress_->keys() : control_.keys();
}

void BrokerConnections::move_to(const BrokerEndpoints& broker) {
  if (egress_) egress_->move_to(broker.egress, broker.keys);
  control_.move_to(broker.control, broker.keys);
}

std::vector<int> BrokerConnections::fds() {
  std::vector<int> all{sub_.fd()};
  if (egress_) all.push_back(egress_->fd());
  control_.add_fds(all);
  return all;
}

bool BrokerConnections::pending() {
  return sub_.readable() || (egress_ && egress_->pending()) || control_.pending();
}

void BrokerConnections::release() {
  sub_.release();
  if (egress_) egress_->release();
  control_.release();
}

}  // namespace backplane::follower
