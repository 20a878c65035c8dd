#include "publishers/sources/session_lookup.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "backplane/v1/control.pb.h"
#include "core/credentials/broker_keys.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::sources {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds reply_timeout{500};
constexpr std::int64_t reply_bytes_max = 1 << 20;

mq::SocketOptions socket_options(const mq::SharedKeys& keys) {
  mq::SocketOptions options;
  options.curve_client = mq::curve_of(keys);
  options.max_message_bytes = reply_bytes_max;
  return options;
}

}  // namespace

/// One broker.
class SessionLookup::Connection {
 public:
  Connection(const PublisherEndpoints& broker, mq::SharedKeys keys)
      : broker_(broker), keys_(std::move(keys)) {}

  std::optional<v1::ControlReply> request_reply(v1::ControlRequest request) {
    if (!socket_) connect();
    request.set_version(1);
    request.set_id(++last_id_);
    if (!socket_->send(request.SerializeAsString(), zmq::send_flags::dontwait)) return {};
    const Clock::time_point deadline = Clock::now() + reply_timeout;
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      if (left.count() <= 0) break;
      zmq::pollitem_t item{socket_->raw().handle(), 0, ZMQ_POLLIN, 0};
      zmq_poll(&item, 1, left.count());  // a signal may end it early
      zmq::message_t frame;
      while (socket_->receive(frame)) {
        while (frame.more() && socket_->receive(frame)) {
        }
        v1::ControlReply reply;
        if (reply.ParseFromArray(frame.data(), static_cast<int>(frame.size())) && reply.id() == last_id_) {
          return reply;
        }
      }
    }
    socket_.reset();  // a request that is still queued must not be sent later
    return {};
  }

 private:
  void connect() {
    socket_.emplace(context_, zmq::socket_type::dealer, socket_options(keys_));
    if (auto connected = socket_->connect(broker_.control); !connected) {
      throw std::invalid_argument(connected.error().text);
    }
  }

  const PublisherEndpoints& broker_;
  const mq::SharedKeys keys_;
  mq::Context context_;
  std::optional<mq::Socket> socket_;
  std::uint64_t last_id_{};
};

SessionLookup::SessionLookup(const std::vector<PublisherEndpoints>& brokers, const Credentials& credentials) {
  const mq::SharedKeys keys = keys_of(credentials);
  for (const PublisherEndpoints& broker : brokers)
    connections_.push_back(std::make_unique<Connection>(broker, keys));
}

SessionLookup::~SessionLookup() = default;

std::optional<std::uint64_t> SessionLookup::confirmed_sequence(const std::string& source,
                                                               std::uint64_t session) {
  std::optional<std::uint64_t> sequence;
  for (const auto& connection : connections_) {
    v1::ControlRequest request;
    request.mutable_admitted()->set_source(source);
    request.mutable_admitted()->set_session(session);
    const auto reply = connection->request_reply(std::move(request));
    if (!reply || !reply->has_admitted()) continue;
    const v1::AdmittedReply& admitted = reply->admitted();
    sequence = std::max({sequence.value_or(0), admitted.sequence(), admitted.refused_sequence()});
  }
  return sequence;
}

}  // namespace backplane::sources
