#include "follower/broker_connections.hpp"

namespace backplane::follower {
namespace {

mq::SocketOptions egress_options(std::int64_t max_message_bytes) {
  mq::SocketOptions options;
  options.send_hwm = 0;  // subscriptions are messages too: above a limit, libzmq drops them silently
  options.receive_hwm = 100'000;
  options.max_message_bytes = max_message_bytes;
  return options;
}

}  // namespace

BrokerConnections::BrokerConnections(mq::Context& context, const std::string& egress,
                                     const std::string& control, std::int64_t max_message_bytes)
    : sub_(context, zmq::socket_type::sub, egress_options(max_message_bytes)),
      connection_(context, sub_, egress),
      control_(context, control, max_message_bytes) {}

std::vector<int> BrokerConnections::fds() {
  std::vector<int> all{sub_.fd(), connection_.fd()};
  control_.add_fds(all);
  return all;
}

bool BrokerConnections::pending() {
  return sub_.readable() || connection_.pending() || control_.pending();
}

void BrokerConnections::release() {
  sub_.release();
  connection_.release();
  control_.release();
}

}  // namespace backplane::follower
