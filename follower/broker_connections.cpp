#include "follower/broker_connections.hpp"

namespace backplane::follower {
namespace {

mq::SocketOptions egress_options(std::int64_t max_message_bytes, const mq::SharedKeys& keys) {
  mq::SocketOptions options;
  options.curve_client = mq::curve_of(keys);
  options.send_hwm = 0;  // subscriptions are messages too: above a limit, libzmq drops them silently
  options.receive_hwm = 100'000;
  options.max_message_bytes = max_message_bytes;
  return options;
}

}  // namespace

BrokerConnections::BrokerConnections(mq::Context& context, const BrokerEndpoints& broker,
                                     std::int64_t max_message_bytes, bool has_egress)
    : sub_(context, zmq::socket_type::sub, egress_options(max_message_bytes, broker.keys)),
      control_(context, broker.control, broker.keys, max_message_bytes) {
  if (has_egress) egress_.emplace(context, sub_, broker.egress, broker.keys);
}

const mq::KeyCheck& BrokerConnections::keys() const noexcept {
  const bool is_egress = egress_ && egress_->keys().problem() != mq::KeyProblem::none;
  return is_egress ? egress_->keys() : control_.keys();
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
