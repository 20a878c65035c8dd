#include "publishers/lib/earlier_brokers.hpp"

#include <algorithm>

#include "publishers/lib/control_messages.hpp"

namespace backplane::publishing {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds healthy_time{3};
constexpr milliseconds work_interval{100};
constexpr milliseconds ask_interval{400};
constexpr milliseconds reply_time_max{2000};
constexpr milliseconds reconnect_interval{500};

}  // namespace

void EarlierBrokers::watch(std::size_t count) {
  probes_.resize(count);
}

void EarlierBrokers::doubt() {
  for (Probe& probe : probes_) probe.healthy_since.reset();
}

void EarlierBrokers::work(Clock::time_point now) {
  if (probes_.empty() || now < work_at_) return;
  work_at_ = now + work_interval;
  for (std::size_t i = 0; i < probes_.size(); ++i) {
    bool healthy = false;
    try {
      healthy = work_on(probes_[i], brokers_[i], now);
    } catch (const std::exception&) {  // for example too many open files, which may pass
    }
    if (healthy) continue;
    auto addresses = std::move(probes_[i].addresses);
    if (addresses && !probes_[i].stream) addresses->next();  // it has not replied at this address
    probes_[i] = Probe{
        .connection = nullptr, .addresses = std::move(addresses), .connect_at = now + reconnect_interval};
  }
}

bool EarlierBrokers::work_on(Probe& probe, const PublisherEndpoints& broker, Clock::time_point now) {
  if (!probe.connection) {
    if (now < probe.connect_at) return true;
    if (!probe.addresses) probe.addresses.emplace(broker);
    probe.connection = std::make_unique<PublisherConnection>(context_, *probe.addresses, keys_);
    probe.replied_at = now;
    ask(probe, now);
    return true;
  }
  if (probe.connection->disconnected() || !read_replies(probe, now)) return false;
  if (now - probe.replied_at >= reply_time_max) return false;
  if (probe.stream && !probe.healthy_since && probe.connection->subscribed()) probe.healthy_since = now;
  if (now - probe.asked_at >= ask_interval) ask(probe, now);
  return true;
}

bool EarlierBrokers::read_replies(Probe& probe, Clock::time_point now) {
  zmq::message_t frame;
  while (probe.connection->receive_reply(frame)) {
    const auto reply = decode_reply(frame.to_string_view());
    if (!reply || reply->draining) return false;
    if (probe.stream && *probe.stream != reply->stream) return false;  // it restarted
    probe.stream = reply->stream;
    probe.replied_at = now;
  }
  return true;
}

void EarlierBrokers::ask(Probe& probe, Clock::time_point now) {
  probe.asked_at = now;
  // Unlike Hello, this does not announce a publisher that is not there. No session has the number 0.
  (void)probe.connection->send_request(encode_admitted(next_id_++, source_, 0));
}

std::optional<std::size_t> EarlierBrokers::recovered(Clock::time_point now) const {
  for (std::size_t i = 0; i < probes_.size(); ++i) {
    if (probes_[i].healthy_since && now - *probes_[i].healthy_since >= healthy_time) return i;
  }
  return {};
}

EarlierBrokers::Clock::time_point EarlierBrokers::next_deadline() const noexcept {
  return probes_.empty() ? Clock::time_point::max() : work_at_;
}

}  // namespace backplane::publishing
