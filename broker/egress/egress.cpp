#include "broker/egress/egress.hpp"

namespace backplane::broker {
namespace {

// A subscriber that takes nothing for so long is disconnected, and its queue is freed. It subscribes again
// when it goes on, and knows by the positions what it has missed.
constexpr std::chrono::seconds stall_max{6};
// A subscriber that sends nothing but other messages must not keep the loop from its events.
constexpr int skipped_max = 4096;

mq::SocketOptions socket_options(const Egress::Options& options) {
  mq::SocketOptions socket;
  socket.send_hwm = options.send_hwm;
  socket.receive_hwm = 0;  // a limit here loses subscriptions without an error
  socket.send_stall_max = stall_max;
  socket.xpub_nodrop = true;
  socket.max_message_bytes = Egress::subscriber_message_bytes_max;
  socket.zmtp3_only = !options.curve.has_value();
  socket.curve_server = options.curve;
  // Otherwise, only the first subscriber of a prefix would show: see UserConnections and SubscriptionLedger.
  socket.xpub_verboser = true;
  socket.io_thread = 1;  // ingress uses 0: a pair of connections on one I/O thread is the bottleneck
  return socket;
}

}  // namespace

Egress::Egress(mq::Context& context, const Options& options, WaitBudget& budget, Counters& counters)
    : socket_(context, zmq::socket_type::xpub, socket_options(options)),
      counters_(counters),
      budget_(budget) {}

void Egress::set_nodrop(bool nodrop) {
  const int value = nodrop ? 1 : 0;
  if (zmq_setsockopt(socket_.raw().handle(), ZMQ_XPUB_NODROP, &value, sizeof value) != 0)
    throw zmq::error_t();
}

bool Egress::send_waiting(zmq::message_t& topic) {
  const auto begin = WaitBudget::Clock::now();
  const auto allowed = budget_.allowed(begin);
  if (allowed.count() == 0) return false;
  const int timeout_ms = static_cast<int>(allowed.count());
  if (timeout_ms != send_timeout_ms_) {
    socket_.raw().set(zmq::sockopt::sndtimeo, timeout_ms);
    send_timeout_ms_ = timeout_ms;
  }
  const bool sent = socket_.send(topic, zmq::send_flags::sndmore);
  const auto end = WaitBudget::Clock::now();
  budget_.waited(begin, end);
  counters_.egress_wait_ns_total +=
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count());
  return sent;
}

void Egress::publish(zmq::message_t& topic, zmq::message_t& event) {
  constexpr auto more_now = zmq::send_flags::sndmore | zmq::send_flags::dontwait;
  // A message blocks at its first frame or not at all: the high-water marks count whole messages.
  if (socket_.send(topic, more_now) || send_waiting(topic)) {
    in_episode_ = false;
    CHECK(socket_.send(event, zmq::send_flags::dontwait), "the second frame follows the first");
    return;
  }
  if (!in_episode_) ++counters_.drop_episodes_total;
  in_episode_ = true;
  ++counters_.lossy_sends_total;
  set_nodrop(false);
  const bool sent = socket_.send(topic, more_now) && socket_.send(event, zmq::send_flags::dontwait);
  set_nodrop(true);
  CHECK(sent, "a lossy send never blocks");
}

std::optional<Egress::Subscription> Egress::next_subscription() {
  for (int skipped = 0; skipped < skipped_max && socket_.receive(subscription_); ++skipped) {
    socket_.skip_rest(subscription_);
    const std::string_view bytes = subscription_.to_string_view();
    const bool begins = bytes.starts_with('\1');
    if (!begins && !bytes.starts_with('\0')) {  // a message from a subscriber
      note_churn();
      continue;
    }
    Subscription result{begins, bytes.substr(1), subscription_};
    const bool changes =
        begins ? ledger_.began(subscription_, result.prefix) : ledger_.ended(subscription_, result.prefix);
    if (changes) ++(begins ? counters_.subscriptions_total : counters_.unsubscriptions_total);
    if (!begins || !changes) note_churn();
    return result;
  }
  return std::nullopt;
}

void Egress::note_churn() {
  if (ledger_.churned(subscription_)) ++counters_.subscribers_disconnected_total;
}

void Egress::set_linger(std::chrono::milliseconds linger) {
  socket_.raw().set(zmq::sockopt::linger, static_cast<int>(linger.count()));
}

}  // namespace backplane::broker
