#include "publishers/lib/publisher_connection.hpp"

#include <stdexcept>

#include "core/net/transferred_bytes.hpp"

namespace backplane::publishing {
namespace {

using std::chrono::milliseconds;

// Enough to keep a fast connection busy between two wakeups. The queue contains copies of unconfirmed events,
// so their limit bounds it.
constexpr int data_hwm = 4000;
// Requests are at most one a second, and some more during a flush. Each has one reply.
constexpr int control_hwm = 100;
// Replies to a publisher are small. The broker limits requests on this endpoint to the same size.
constexpr std::int64_t reply_bytes_max = 1 << 20;

mq::SocketOptions data_options(const mq::SharedKeys& keys) {
  mq::SocketOptions options;
  options.curve_client = mq::curve_of(keys);
  options.send_hwm = data_hwm;
  options.receive_hwm = 0;
  options.send_timeout = milliseconds{1000};  // only for second frames, see send_event()
  options.xpub_nodrop = true;
  options.xpub_verbose = true;
  options.reconnect_interval = milliseconds{-1};
  return options;
}

mq::SocketOptions control_options(const mq::SharedKeys& keys) {
  mq::SocketOptions options;
  options.curve_client = mq::curve_of(keys);
  options.send_hwm = control_hwm;
  options.receive_hwm = 0;
  options.max_message_bytes = reply_bytes_max;
  return options;
}

void connect(mq::Socket& socket, const std::string& endpoint) {
  if (auto connected = socket.connect(endpoint); !connected) {
    throw std::invalid_argument(connected.error().text);
  }
}

}  // namespace

PublisherConnection::PublisherConnection(mq::Context& context, const BrokerAddresses& broker,
                                         const mq::SharedKeys& keys)
    : data_(context, zmq::socket_type::xpub, data_options(keys)),
      monitor_(context, data_),
      control_(context, zmq::socket_type::dealer, control_options(keys)) {
  connect(data_, broker.ingress());
  connect(control_, broker.control());
}

bool PublisherConnection::disconnected() {
  for (;;) {
    switch (monitor_.next()) {
      case mq::ConnectionEvent::none:
        return false;
      case mq::ConnectionEvent::disconnected:
        if (failure_.kind == mq::HandshakeFailure::Kind::none) failure_ = monitor_.failure();
        return true;
      case mq::ConnectionEvent::connected:
        connected_ = true;
        break;
      case mq::ConnectionEvent::opened:
        descriptor_ = monitor_.descriptor();
        break;
      case mq::ConnectionEvent::accepted:  // only at listening sockets
      case mq::ConnectionEvent::other:
        break;
    }
  }
}

bool PublisherConnection::subscribed() {
  zmq::message_t frame;
  while (data_.receive(frame)) {
    // A frame of 1 and a prefix subscribes. 0 and a prefix unsubscribes, as does the end of the connection.
    if (frame.size() > 0 && *frame.data<char>() == 1) subscribed_ = true;
    data_.skip_rest(frame);
  }
  return subscribed_;
}

std::uint64_t PublisherConnection::acknowledged_bytes() const {
  return connected_ ? backplane::acknowledged_bytes(descriptor_).value_or(0) : 0;
}

bool PublisherConnection::send_event(const EventFrames& event) {
  if (!data_.send(event.topic, zmq::send_flags::sndmore | zmq::send_flags::dontwait)) return false;
  // libzmq counts whole messages: if the first frame was accepted, so is the second.
  if (!data_.send(event.event)) throw zmq::error_t();
  return true;
}

bool PublisherConnection::send_request(std::string_view request) {
  return control_.send(request, zmq::send_flags::dontwait);
}

bool PublisherConnection::receive_reply(zmq::message_t& reply) {
  if (!control_.receive(reply)) return false;
  while (reply.more() && control_.receive(reply)) {
  }
  return true;
}

void PublisherConnection::linger(std::chrono::milliseconds time) {
  const int time_ms = static_cast<int>(time.count());
  data_.raw().set(zmq::sockopt::linger, time_ms);
  control_.raw().set(zmq::sockopt::linger, time_ms);
}

bool PublisherConnection::readable() {
  return data_.readable() || control_.readable() || monitor_.socket().readable();
}

void PublisherConnection::release() {
  data_.release();
  control_.release();
  monitor_.socket().release();
}

}  // namespace backplane::publishing
