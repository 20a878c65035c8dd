#include "broker/egress/egress_group.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

#include "core/error/error.hpp"

namespace backplane::broker {
namespace {

// Matching this many patterns costs less than a lookup.
constexpr std::size_t patterns_without_cache_max = 3;
constexpr std::size_t decisions_max = 16'384;
static_assert(std::has_single_bit(decisions_max));

}  // namespace

Egress& EgressGroup::add(const Egress::Options& options, std::vector<Pattern> patterns) {
  CHECK(endpoints_.size() < endpoints_max, "the configuration limits the number of egress endpoints");
  publish_everything_ = publish_everything_ && patterns.empty();
  patterns_ += patterns.size();
  decisions_.resize(patterns_ > patterns_without_cache_max ? decisions_max : 0);
  endpoints_.push_back({Egress(context_, options, budget_, counters_), std::move(patterns)});
  return endpoints_.back().egress;
}

void EgressGroup::publish(zmq::message_t& topic, zmq::message_t& event) {
  if (publish_everything_ && endpoints_.size() == 1) return endpoints_.front().egress.publish(topic, event);
  Mask left = publish_everything_ ? all_endpoints() : endpoints_of(topic.to_string_view());
  if (left == 0) {
    topic.rebuild();
    event.rebuild();
    return;
  }
  while (!std::has_single_bit(left)) {
    // Copies share the bytes.
    zmq::message_t same_topic;
    zmq::message_t same_event;
    same_topic.copy(topic);
    same_event.copy(event);
    endpoints_[static_cast<std::size_t>(std::countr_zero(left))].egress.publish(same_topic, same_event);
    left &= left - 1;
  }
  endpoints_[static_cast<std::size_t>(std::countr_zero(left))].egress.publish(topic, event);
}

EgressGroup::Mask EgressGroup::endpoints_of(std::string_view topic) {
  if (decisions_.empty()) return match(topic);
  Decision& decision = decisions_[std::hash<std::string_view>{}(topic) & (decisions_max - 1)];
  if (decision.topic != topic) decision = {std::string(topic), match(topic)};
  return decision.mask;
}

EgressGroup::Mask EgressGroup::match(std::string_view topic) const {
  Mask mask = 0;
  for (std::size_t index = 0; index < endpoints_.size(); ++index) {
    const std::vector<Pattern>& patterns = endpoints_[index].patterns;
    const bool publishes = patterns.empty() || std::ranges::any_of(patterns, [&](const Pattern& each) {
                             return each.matches(topic);
                           });
    if (publishes) mask |= Mask{1} << index;
  }
  return mask;
}

void EgressGroup::bound_subscriptions(std::size_t bytes_max) {
  while (true) {
    std::size_t bytes = 0;
    for (Endpoint& each : endpoints_) bytes += each.egress.ledger().bytes();
    if (bytes <= bytes_max) return;
    const auto most = std::ranges::max_element(endpoints_, {},
                                               [](Endpoint& each) { return each.egress.ledger().largest(); });
    most->egress.ledger().end_largest();
    ++counters_.subscribers_disconnected_total;
  }
}

void EgressGroup::begin_second() noexcept {
  for (Endpoint& each : endpoints_) each.egress.ledger().begin_second();
}

void EgressGroup::set_linger(std::chrono::milliseconds linger) {
  for (Endpoint& each : endpoints_) each.egress.set_linger(linger);
}

}  // namespace backplane::broker
