// Audiences, routes and numbers: what the engine is told of clients and topics.
#include <algorithm>
#include <limits>

#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {
namespace {

// Beyond so many the gateway starts to know topics anew.
constexpr std::size_t topics_max = 2'000'000;

}  // namespace

Hub::Interest& Hub::interest_in(const Pattern& pattern) {
  if (const auto known = interests_.find(pattern.str()); known != interests_.end()) return *known->second;
  auto interest =
      std::make_unique<Interest>(Interest{pattern, upstream_.add(pattern.literal_prefix()), 0, {}, nullptr});
  Interest& result = *interest;
  interests_.emplace(pattern.str(), std::move(interest));
  if (!pattern.is_exact()) wildcards_.insert(pattern.str(), &result);
  return result;
}

void Hub::let_go(Interest& interest) {
  drop_values(interest);
  const std::string pattern = interest.pattern.str();
  upstream_.remove(interest.pattern.literal_prefix());
  if (!interest.pattern.is_exact()) wildcards_.erase(pattern);
  interests_.erase(pattern);
}

Hub::Audience& Hub::audience_of(Interest& interest, Format format, std::chrono::milliseconds every,
                                bool notices) {
  for (const auto& known : interest.audiences) {
    if (known->format == format && known->every == every && known->notices == notices) return *known;
  }
  if (free_audiences_.empty()) free_audiences_.push_back(fanout::AudienceId{audiences_++});
  interest.audiences.push_back(
      std::make_unique<Audience>(Audience{free_audiences_.back(), &interest, format, every, notices, 0}));
  free_audiences_.pop_back();
  Audience& made = *interest.audiences.back();
  outlet_.set_interval(made.id, notices ? std::chrono::milliseconds{0} : every);
  changed(interest);
  return made;
}

void Hub::changed(const Interest& interest) {
  if (!interest.pattern.is_exact()) {
    ++generation_;
    return;
  }
  const auto topic = topics_by_name_.find(interest.pattern.str());
  if (topic != topics_by_name_.end()) topic->second->generation = 0;
}

void Hub::enter(Subscription& subscription, bool buffered) {
  const Reader& reader = *subscription.reader;
  const std::chrono::milliseconds every = subscription.every;
  Audience& audience = audience_of(*subscription.interest, reader.format, every, false);
  ++audience.members;
  subscription.audience = &audience;
  subscription.active_since = serial_;
  // Who goes on, in another format or at another pace, goes on from where it began.
  set_place(subscription, subscription.in_force ? subscription.place : place_);
  if (buffered) {
    outlet_.join_buffered(reader.id, audience.id);
  } else {
    outlet_.join(reader.id, audience.id);
  }
  if (every.count() == 0) return;
  Audience& notices = audience_of(*subscription.interest, reader.format, every, true);
  ++notices.members;
  outlet_.join(reader.id, notices.id);
}

void Hub::set_place(Subscription& subscription, const Place& place) {
  subscription.place = place;
  for (const auto& audience : subscription.interest->audiences) audience->newest.advance(place);
}

void Hub::withdraw(Subscription& subscription, bool gone) {
  if (subscription.audience == nullptr) return;
  Audience& audience = *std::exchange(subscription.audience, nullptr);
  Reader& reader = *subscription.reader;
  if (audience.every.count() > 0) {
    leave(reader, audience_of(*audience.interest, audience.format, audience.every, true), gone);
  }
  leave(reader, audience, gone);
}

void Hub::leave(Reader& reader, Audience& audience, bool gone) {
  if (!gone) outlet_.leave(reader.id, audience.id);
  if (--audience.members > 0) return;
  Interest& interest = *audience.interest;
  free_audiences_.push_back(audience.id);
  std::erase_if(interest.audiences, [&](const auto& each) { return each.get() == &audience; });
  changed(interest);
}

/// The follower keeps with each of its topics which one of ours it is, and of which of their lives.
Hub::Topic& Hub::topic_of(const Delivery& delivery) {
  if (delivery.mark == nullptr) return topic_of(delivery.topic);
  if (*delivery.mark >> 32 != topics_life_) {
    Topic& topic = topic_of(delivery.topic);
    *delivery.mark = std::uint64_t{topics_life_} << 32 | topic.index;
    return topic;
  }
  Topic& topic = topics_[*delivery.mark & 0xFFFF'FFFF];
  if (topic.generation != generation_) find_routes(topic);
  return topic;
}

Hub::Topic& Hub::topic_of(std::string_view name) {
  const auto known = topics_by_name_.find(name);
  Topic& topic = known != topics_by_name_.end() ? *known->second : add_topic(name);
  if (topic.generation != generation_) find_routes(topic);
  return topic;
}

Hub::Topic& Hub::add_topic(std::string_view name) {
  if (topics_.size() >= topics_max) forget_topics();
  Topic& topic = topics_.emplace_back();
  topic.name = std::make_shared<const std::string>(name);
  topic.index = static_cast<std::uint32_t>(topics_.size() - 1);
  topic.routes.fill(RouteTable::none);
  topics_by_name_.emplace(*topic.name, &topic);
  return topic;
}

void Hub::find_routes(Topic& topic) {
  for (auto& set : sets_) set.clear();
  topic.recorded = false;
  each_interest(*topic.name, [&](const Interest& interest) {
    if (interest.values) topic.recorded = true;
    for (const auto& audience : interest.audiences) {
      if (!audience->notices) sets_[static_cast<std::size_t>(audience->format)].push_back(audience->id);
    }
  });
  topic.wanted = topic.recorded;
  for (std::size_t format = 0; format < format_count; ++format) {
    std::sort(sets_[format].begin(), sets_[format].end());
    routes_.exchange(topic.routes[format], sets_[format]);
    topic.wanted = topic.wanted || topic.routes[format] != RouteTable::none;
  }
  topic.generation = generation_;
}

void Hub::forget_topics() {
  for (const Topic& topic : topics_) {
    for (const fanout::RouteId route : topic.routes) routes_.give_back(route);
    for (const auto& [stream, id] : topic.numbers) directory_.retire(id);
  }
  topics_by_name_.clear();
  topics_.clear();
  ++topics_life_;
}

fanout::StreamId Hub::stream_id(std::uint64_t stream) {
  for (const auto& [known, id] : streams_) {
    if (known == stream) return id;
  }
  // Sixty-five thousand lives of brokers later a number begins to mean another one.
  if (++last_stream_id_ == static_cast<std::uint16_t>(fanout::no_stream)) last_stream_id_ = 1;
  streams_.emplace_back(stream, fanout::StreamId{last_stream_id_});
  return streams_.back().second;
}

void Hub::forget_stream(std::uint64_t stream) {
  std::erase_if(streams_, [&](const auto& each) { return each.first == stream; });
}

fanout::TopicId Hub::number(Topic& topic, std::uint64_t stream) {
  if (topic.stream == stream && !topic.numbers.empty()) return topic.id;
  const auto known = std::find_if(topic.numbers.begin(), topic.numbers.end(),
                                  [&](const auto& each) { return each.first == stream; });
  if (known != topic.numbers.end()) return known->second;
  topic.numbers.emplace_back(stream, directory_.add_topic(topic.name, stream));
  return topic.numbers.back().second;
}

}  // namespace backplane::gateway
