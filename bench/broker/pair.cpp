#include "bench/broker/pair.hpp"

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>
#include <zmq.hpp>

#include "backplane/v1/event.pb.h"
#include "bench/broker/middle.hpp"

namespace backplane::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view topic = "bench.topic1";
constexpr std::uint64_t first_sequence = std::uint64_t{1} << 28;  // each number takes 5 bytes

constexpr int hwm = 10'000;  // the broker's
constexpr std::uint64_t receipt_every = 256;

/// An Event whose sequence has a fixed width, at a known offset.
struct Template {
  std::string bytes;
  std::size_t sequence_at{};

  Template() {
    v1::Event event;
    event.set_source("bench@host");
    event.set_session(0x0123456789abcdef);
    event.set_sequence(first_sequence);
    event.mutable_time()->set_seconds(1'700'000'000);
    event.set_binary(std::string(128, 'x'));
    bytes = event.SerializeAsString();
    sequence_at = 2 + event.source().size() + 9 + 1;  // source, session, the tag
  }
  void number(std::uint64_t sequence) {
    for (std::size_t i = 0; i < 5; ++i) {
      bytes[sequence_at + i] = static_cast<char>((sequence & 0x7f) | (i < 4 ? 0x80 : 0));
      sequence >>= 7;
    }
  }
};

/// The number of events that the subscriber has received, written every receipt_every events. The publisher
/// waits for it.
class Receipts {
 public:
  void tell(std::uint64_t received) {
    received_.store(received, std::memory_order_release);
    received_.notify_one();
  }
  void wait_for(std::uint64_t wanted) const {
    for (std::uint64_t seen = received_.load(std::memory_order_acquire); seen < wanted;
         seen = received_.load(std::memory_order_acquire)) {
      received_.wait(seen, std::memory_order_acquire);
    }
  }

 private:
  std::atomic<std::uint64_t> received_{0};
};

void publish(zmq::context_t& context, const std::string& endpoint, std::uint64_t events, std::uint64_t window,
             const Receipts& receipts) {
  zmq::socket_t socket(context, zmq::socket_type::xpub);
  const int nodrop = 1;
  zmq_setsockopt(socket.handle(), ZMQ_XPUB_NODROP, &nodrop, sizeof nodrop);
  socket.set(zmq::sockopt::sndhwm, 10'000);
  socket.connect(endpoint);
  zmq::message_t subscription;
  if (!socket.recv(subscription)) return;  // the other side is connected
  Template event;
  for (std::uint64_t i = 0; i < events; ++i) {
    if (window > 0 && i % receipt_every == 0 && i >= window) receipts.wait_for(i - window + receipt_every);
    event.number(first_sequence + i);
    socket.send(zmq::buffer(topic), zmq::send_flags::sndmore);
    socket.send(zmq::buffer(event.bytes), zmq::send_flags::none);
  }
  socket.set(zmq::sockopt::linger, 10'000);
}

}  // namespace

void run_proxy(int ready_fd) {
  zmq::context_t context(1);
  zmq::socket_t front(context, zmq::socket_type::xsub);
  zmq::socket_t back(context, zmq::socket_type::xpub);
  back.set(zmq::sockopt::rcvhwm, 0);
  back.set(zmq::sockopt::sndhwm, hwm);
  front.set(zmq::sockopt::rcvhwm, hwm);
  front.set(zmq::sockopt::sndhwm, 0);
  const int nodrop = 1;  // otherwise the proxy drops events, and does less work than the broker
  zmq_setsockopt(back.handle(), ZMQ_XPUB_NODROP, &nodrop, sizeof nodrop);
  front.bind("tcp://127.0.0.1:0");
  back.bind("tcp://127.0.0.1:0");
  const std::string line = fmt::format("ready ingress={} egress={}\n", front.get(zmq::sockopt::last_endpoint),
                                       back.get(zmq::sockopt::last_endpoint));
  if (::write(ready_fd, line.data(), line.size()) < 0) ::_exit(1);
  zmq::proxy(front, back);
}

PairOutcome run_pair(const std::function<void(int)>& middle_process, std::uint64_t events,
                     std::uint64_t window) {
  Middle middle(middle_process);
  zmq::context_t context(2);
  zmq::socket_t subscriber(context, zmq::socket_type::sub);
  subscriber.set(zmq::sockopt::rcvhwm, 0);
  subscriber.set(zmq::sockopt::rcvtimeo, 5'000);
  subscriber.set(zmq::sockopt::subscribe, "bench.");
  subscriber.connect(middle.endpoints.egress);
  // The subscription has arrived when a probe comes through.
  {
    zmq::socket_t probe(context, zmq::socket_type::pub);
    probe.connect(middle.endpoints.ingress);
    zmq::message_t frame;
    v1::Event event;
    event.set_text("probe");
    for (int attempt = 0; attempt < 500; ++attempt) {
      probe.send(zmq::str_buffer("bench.probe"), zmq::send_flags::sndmore);
      probe.send(zmq::buffer(event.SerializeAsString()), zmq::send_flags::none);
      zmq::pollitem_t item{subscriber.handle(), 0, ZMQ_POLLIN, 0};
      if (zmq::poll(&item, 1, std::chrono::milliseconds{20}) > 0) break;
    }
  }
  Receipts receipts;
  std::thread publisher([&] { publish(context, middle.endpoints.ingress, events, window, receipts); });
  PairOutcome outcome;
  zmq::message_t frame;
  Clock::time_point begin{};
  Clock::time_point last{};
  while (outcome.received < events) {
    if (!subscriber.recv(frame)) break;
    const bool counts = frame.to_string_view() == topic;
    if (!subscriber.recv(frame)) break;
    if (!counts) continue;
    if (outcome.received++ == 0) begin = Clock::now();
    if (outcome.received % receipt_every == 0) receipts.tell(outcome.received);
    if (outcome.received % 1'024 == 0 || outcome.received == events) last = Clock::now();
  }
  receipts.tell(events);  // in case some are lost: ends the publisher's wait
  const std::chrono::duration<double> seconds = last - begin;
  publisher.join();
  outcome.events_a_second = static_cast<double>(outcome.received) / seconds.count();
  outcome.cpu_ns_an_event = middle.end() / static_cast<double>(events);
  return outcome;
}

}  // namespace backplane::bench
