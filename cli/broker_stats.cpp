#include "cli/broker_stats.hpp"

#include <limits>
#include <stdexcept>

#include <backplane/v1/control.pb.h>

namespace backplane::cli {
namespace {

constexpr std::chrono::seconds answer_patience{3};

mq::SocketOptions dealer_options() {
  mq::SocketOptions options;
  options.send_hwm = 4;  // questions that nobody answers are not worth keeping
  options.max_message_bytes = 16 << 20;
  return options;
}

std::uint64_t value_of(const google::protobuf::Map<std::string, std::uint64_t>& counters,
                       const std::string& name) {
  const auto found = counters.find(name);
  return found == counters.end() ? 0 : found->second;
}

}  // namespace

BrokerStats::BrokerStats(mq::Context& context, const std::string& control)
    : socket_(context, zmq::socket_type::dealer, dealer_options()) {
  if (auto connected = socket_.connect(control); !connected) throw std::runtime_error(connected.error().text);
}

void BrokerStats::ask(Clock::time_point now) {
  if (waiting_ && now - asked_ < answer_patience) return;
  v1::ControlRequest request;
  request.set_version(1);
  request.set_id(++id_);
  request.mutable_stats();
  waiting_ = socket_.send(request.SerializeAsString(), zmq::send_flags::dontwait);
  asked_ = now;
}

bool BrokerStats::receive() {
  bool is_new = false;
  zmq::message_t frame;
  while (socket_.receive(frame)) {
    socket_.skip_rest(frame);
    v1::ControlReply reply;
    constexpr std::size_t parse_max = std::numeric_limits<int>::max();
    if (frame.size() > parse_max || !reply.ParseFromArray(frame.data(), static_cast<int>(frame.size())))
      continue;
    if (reply.id() != id_ || !reply.has_stats()) continue;  // late, or refused
    waiting_ = false;
    is_new = true;
    numbers_ = {};
    for (const auto& [name, value] : reply.stats().counters()) numbers_.counters[name] = value;
    for (const auto& participant : reply.stats().participants()) {
      if (participant.role() != v1::HelloRequest::ROLE_GATEWAY) continue;
      if (participant.up()) numbers_.clients += value_of(participant.counters(), "clients");
      numbers_.deliveries += value_of(participant.counters(), "deliveries");
    }
  }
  return is_new;
}

}  // namespace backplane::cli
