#include "bench/broker/pair.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>
#include <zmq.hpp>

#include "backplane/v1/event.pb.h"
#include "bench/broker/middle.hpp"

namespace backplane::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view topic_alone = "bench.topic1";
constexpr std::string_view probe_topic = "bench.probe";
constexpr std::uint64_t prime = 7919;  // every topic occurs, and neighbours are not consecutive
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

void set_keys(zmq::socket_t& socket, const mq::CurveClient* keys) {
  if (keys == nullptr) return;
  zmq_setsockopt(socket.handle(), ZMQ_CURVE_SERVERKEY, keys->server_key.data(), keys->server_key.size());
  zmq_setsockopt(socket.handle(), ZMQ_CURVE_PUBLICKEY, keys->public_key.data(), keys->public_key.size());
  zmq_setsockopt(socket.handle(), ZMQ_CURVE_SECRETKEY, keys->secret_key.data(), keys->secret_key.size());
}

void publish(zmq::context_t& context, const std::string& endpoint, const PairLoad& load,
             const std::vector<Receipts>& receipts) {
  zmq::socket_t socket(context, zmq::socket_type::xpub);
  const int nodrop = 1;
  zmq_setsockopt(socket.handle(), ZMQ_XPUB_NODROP, &nodrop, sizeof nodrop);
  socket.set(zmq::sockopt::sndhwm, 10'000);
  set_keys(socket, load.publisher_keys);
  socket.connect(endpoint);
  zmq::message_t subscription;
  if (!socket.recv(subscription)) return;  // the other side is connected
  std::vector<std::string> topics{std::string(topic_alone)};
  if (load.topics > 1) topics.clear();
  while (topics.size() < load.topics) topics.push_back(fmt::format("bench.{:06}", topics.size()));
  Template event;
  for (std::uint64_t i = 0; i < load.events; ++i) {
    if (load.window > 0 && i % receipt_every == 0 && i >= load.window) {
      for (const Receipts& each : receipts) each.wait_for(i - load.window + receipt_every);
    }
    event.number(first_sequence + i);
    socket.send(zmq::buffer(topics[i * prime % topics.size()]), zmq::send_flags::sndmore);
    socket.send(zmq::buffer(event.bytes), zmq::send_flags::none);
  }
  socket.set(zmq::sockopt::linger, 10'000);
}

/// Returns when the process forwards events to the socket, which has subscribed. Its subscriptions have then
/// arrived.
void probe(zmq::context_t& context, const std::string& ingress, const mq::CurveClient* keys,
           std::vector<zmq::socket_t>& subscribers) {
  zmq::socket_t publisher(context, zmq::socket_type::pub);
  set_keys(publisher, keys);
  publisher.connect(ingress);
  v1::Event event;
  event.set_text("probe");
  for (zmq::socket_t& subscriber : subscribers) {
    for (int attempt = 0; attempt < 500; ++attempt) {
      publisher.send(zmq::buffer(probe_topic), zmq::send_flags::sndmore);
      publisher.send(zmq::buffer(event.SerializeAsString()), zmq::send_flags::none);
      zmq::pollitem_t item{subscriber.handle(), 0, ZMQ_POLLIN, 0};
      if (zmq::poll(&item, 1, std::chrono::milliseconds{20}) > 0) break;
    }
  }
}

struct Arrived {
  std::uint64_t events{};
  Clock::time_point first{};
  Clock::time_point last{};
};

/// Receives until all events are there, or nothing comes any more.
Arrived receive(zmq::socket_t& subscriber, std::uint64_t events, Receipts& receipts) {
  Arrived arrived;
  zmq::message_t frame;
  while (arrived.events < events) {
    if (!subscriber.recv(frame)) break;
    const bool counts = frame.to_string_view() != probe_topic;
    if (!subscriber.recv(frame)) break;
    if (!counts) continue;
    if (arrived.events++ == 0) arrived.first = Clock::now();
    if (arrived.events % receipt_every == 0) receipts.tell(arrived.events);
    if (arrived.events % 1'024 == 0 || arrived.events == events) arrived.last = Clock::now();
  }
  receipts.tell(events);  // in case some are lost: ends the publisher's wait
  return arrived;
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

PairOutcome run_pair(const std::function<void(int)>& middle, std::uint64_t events, std::uint64_t window) {
  return run_pair(middle, {.events = events, .window = window});
}

PairOutcome run_pair(const std::function<void(int)>& middle_process, const PairLoad& load) {
  Middle middle(middle_process);
  zmq::context_t context(2);
  std::vector<zmq::socket_t> subscribers;
  for (std::size_t i = 0; i < load.subscribers; ++i) {
    zmq::socket_t& subscriber = subscribers.emplace_back(context, zmq::socket_type::sub);
    subscriber.set(zmq::sockopt::rcvhwm, 0);
    subscriber.set(zmq::sockopt::rcvtimeo, 5'000);
    subscriber.set(zmq::sockopt::subscribe, "bench.");
    set_keys(subscriber, load.subscriber_keys);
    subscriber.connect(middle.endpoints.egress);
  }
  probe(context, middle.endpoints.ingress, load.publisher_keys, subscribers);

  const double cpu_before = middle.cpu_ns();
  std::vector<Receipts> receipts(subscribers.size());
  std::vector<Arrived> arrived(subscribers.size());
  std::vector<std::thread> threads;
  threads.emplace_back([&] { publish(context, middle.endpoints.ingress, load, receipts); });
  for (std::size_t i = 0; i < subscribers.size(); ++i) {
    threads.emplace_back([&, i] { arrived[i] = receive(subscribers[i], load.events, receipts[i]); });
  }
  for (std::thread& each : threads) each.join();

  PairOutcome outcome;
  const auto events = static_cast<double>(load.events);
  outcome.busy_cpu_ns_an_event = (middle.cpu_ns() - cpu_before) / events;
  outcome.received = std::ranges::min(arrived, {}, &Arrived::events).events;
  const std::chrono::duration<double> seconds = std::ranges::max(arrived, {}, &Arrived::last).last -
                                                std::ranges::min(arrived, {}, &Arrived::first).first;
  outcome.events_a_second = static_cast<double>(outcome.received) / seconds.count();
  outcome.cpu_ns_an_event = middle.end() / events;
  return outcome;
}

}  // namespace backplane::bench
