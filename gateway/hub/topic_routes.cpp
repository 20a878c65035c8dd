#include "gateway/hub/topic_routes.hpp"

namespace backplane::gateway {
namespace {

// Above this number, the table of topics starts afresh.
constexpr std::size_t topics_max = 2'000'000;

}  // namespace

TopicRoutes::TopicRoutes(Outlet& outlet, TopicDirectory& directory)
    : outlet_(outlet), directory_(directory), routes_(outlet) {
  notice_routes_.fill(RouteTable::none);
}

// ---- patterns ----

SubscribedPattern* TopicRoutes::find(std::string_view pattern) {
  const auto known = patterns_.find(pattern);
  return known == patterns_.end() ? nullptr : known->second.get();
}

SubscribedPattern& TopicRoutes::add(const Pattern& pattern, std::uint64_t ticket) {
  auto made = std::make_unique<SubscribedPattern>(SubscribedPattern{pattern, ticket, 0, {}, nullptr});
  SubscribedPattern& result = *made;
  patterns_.emplace(pattern.str(), std::move(made));
  if (!pattern.is_exact()) wildcards_.insert(pattern.str(), &result);
  return result;
}

void TopicRoutes::remove(SubscribedPattern& pattern) {
  const std::string text = pattern.pattern.str();
  if (!pattern.pattern.is_exact()) wildcards_.erase(text);
  patterns_.erase(text);
}

void TopicRoutes::set_retained(SubscribedPattern& pattern, RetainedValues* retained) {
  pattern.retained = retained;
  outdate(pattern);
}

void TopicRoutes::outdate(const SubscribedPattern& pattern) {
  if (!pattern.pattern.is_exact()) {
    ++generation_;
    return;
  }
  const auto topic = topics_by_name_.find(pattern.pattern.str());
  if (topic != topics_by_name_.end()) topic->second->generation = 0;
}

// ---- audiences ----

fanout::AudienceId TopicRoutes::take_audience_id() {
  if (free_audiences_.empty()) return fanout::AudienceId{audiences_++};
  const fanout::AudienceId id = free_audiences_.back();
  free_audiences_.pop_back();
  return id;
}

Audience& TopicRoutes::add_member(SubscribedPattern& pattern, Format format, std::chrono::milliseconds every,
                                  bool notices, const ReadViewPtr& view) {
  for (const auto& known : pattern.audiences) {
    const bool same = known->format == format && known->every == every && known->notices == notices;
    if (!same || known->view != view) continue;
    ++known->members;
    return *known;
  }
  pattern.audiences.push_back(
      std::make_unique<Audience>(Audience{take_audience_id(), &pattern, format, every, view, notices, 1}));
  Audience& made = *pattern.audiences.back();
  outlet_.set_interval(made.id, notices ? std::chrono::milliseconds{0} : every);
  outdate(pattern);
  return made;
}

Audience& TopicRoutes::notice_audience(const Audience& audience) {
  const auto& all = audience.pattern->audiences;
  return **std::find_if(all.begin(), all.end(), [&](const auto& each) {
    return each->notices && each->format == audience.format && each->every == audience.every &&
           each->view == audience.view;
  });
}

void TopicRoutes::remove_member(Audience& audience) {
  if (--audience.members > 0) return;
  SubscribedPattern& pattern = *audience.pattern;
  free_audiences_.push_back(audience.id);
  std::erase_if(pattern.audiences, [&](const auto& each) { return each.get() == &audience; });
  outdate(pattern);
}

// ---- prefixes of ZeroMQ clients ----

PrefixAudience& TopicRoutes::add_prefix_member(SubscribedPrefix& prefix, const ReadViewPtr& view) {
  for (const auto& known : prefix.audiences) {
    if (known->view != view) continue;
    ++known->members;
    return *known;
  }
  prefix.audiences.push_back(
      std::make_unique<PrefixAudience>(PrefixAudience{take_audience_id(), &prefix, view, 1}));
  PrefixAudience& made = *prefix.audiences.back();
  outlet_.set_interval(made.id, std::chrono::milliseconds{0});
  ++generation_;
  return made;
}

void TopicRoutes::remove_prefix_member(PrefixAudience& audience) {
  if (--audience.members > 0) return;
  SubscribedPrefix& prefix = *audience.prefix;
  free_audiences_.push_back(audience.id);
  std::erase_if(prefix.audiences, [&](const auto& each) { return each.get() == &audience; });
  ++generation_;
}

// ---- topics ----

/// The mark consists of the epoch of the table of topics and the topic's index in it.
RoutedTopic& TopicRoutes::topic(const Delivery& delivery) {
  if (delivery.mark == nullptr) return topic(delivery.topic);
  if (*delivery.mark >> 32 != topics_epoch_) {
    RoutedTopic& found = topic(delivery.topic);
    *delivery.mark = std::uint64_t{topics_epoch_} << 32 | found.index;
    return found;
  }
  RoutedTopic& known = topics_[*delivery.mark & 0xFFFF'FFFF];
  if (known.generation != generation_) compute_routes(known);
  return known;
}

RoutedTopic& TopicRoutes::topic(std::string_view name) {
  const auto known = topics_by_name_.find(name);
  RoutedTopic& found = known != topics_by_name_.end() ? *known->second : add_topic(name);
  if (found.generation != generation_) compute_routes(found);
  return found;
}

RoutedTopic& TopicRoutes::add_topic(std::string_view name) {
  if (topics_.size() >= topics_max) forget_topics();
  RoutedTopic& topic = topics_.emplace_back();
  topic.name = std::make_shared<const std::string>(name);
  topic.index = static_cast<std::uint32_t>(topics_.size() - 1);
  topic.routes.fill(RouteTable::none);
  topics_by_name_.emplace(*topic.name, &topic);
  return topic;
}

void TopicRoutes::forget_topics() {
  for (const RoutedTopic& topic : topics_) {
    for (const fanout::RouteId route : topic.routes) routes_.release(route);
    for (const auto& [stream, id] : topic.numbers) directory_.retire(id);
  }
  topics_by_name_.clear();
  topics_.clear();
  ++topics_epoch_;
}

void TopicRoutes::compute_routes(RoutedTopic& topic) {
  for (auto& set : sets_) set.clear();
  topic.cached = false;
  for_each_match(*topic.name, [&](const SubscribedPattern& pattern) {
    if (pattern.retained != nullptr) topic.cached = true;
    for (const auto& audience : pattern.audiences) {
      if (audience->notices || !audience->may_read(*topic.name)) continue;
      sets_[static_cast<std::size_t>(audience->format)].push_back(audience->id);
    }
  });
  prefixes_.for_each_match(*topic.name, [&](const SubscribedPrefix& prefix) {
    for (const auto& audience : prefix.audiences) {
      if (audience->may_read(*topic.name))
        sets_[static_cast<std::size_t>(Format::zmtp)].push_back(audience->id);
    }
  });
  topic.needed = topic.cached;
  for (std::size_t format = 0; format < format_count; ++format) {
    std::sort(sets_[format].begin(), sets_[format].end());
    routes_.replace(topic.routes[format], sets_[format]);
    topic.needed = topic.needed || topic.routes[format] != RouteTable::none;
  }
  topic.generation = generation_;
}

fanout::TopicId TopicRoutes::number(RoutedTopic& topic, std::uint64_t stream) {
  if (topic.stream == stream && !topic.numbers.empty()) return topic.id;
  const auto known = std::find_if(topic.numbers.begin(), topic.numbers.end(),
                                  [&](const auto& each) { return each.first == stream; });
  if (known != topic.numbers.end()) return known->second;
  topic.numbers.emplace_back(stream, directory_.add_topic(topic.name, stream));
  return topic.numbers.back().second;
}

// ---- streams ----

void TopicRoutes::enter_stream(RoutedTopic& topic, std::uint64_t stream) {
  topic.id = number(topic, stream);
  topic.stream = stream;
  topic.stream_id = stream_id(stream);
}

/// @returns whether the topic had events in the stream.
bool TopicRoutes::leave_stream(RoutedTopic& topic, std::uint64_t stream) {
  const auto old = std::find_if(topic.numbers.begin(), topic.numbers.end(),
                                [&](const auto& each) { return each.first == stream; });
  if (old == topic.numbers.end()) return false;
  directory_.retire(old->second);
  topic.numbers.erase(old);
  if (topic.stream == stream) {
    topic.stream = 0;
    topic.offset = 0;
  }
  return true;
}

fanout::StreamId TopicRoutes::stream_id(std::uint64_t stream) {
  if (const auto known = find_stream(stream)) return *known;
  // Numbers are reused after 65,534 streams.
  if (++last_stream_id_ == static_cast<std::uint16_t>(fanout::no_stream)) last_stream_id_ = 1;
  streams_.emplace_back(stream, fanout::StreamId{last_stream_id_});
  return streams_.back().second;
}

std::optional<fanout::StreamId> TopicRoutes::find_stream(std::uint64_t stream) const noexcept {
  for (const auto& [known, id] : streams_) {
    if (known == stream) return id;
  }
  return std::nullopt;
}

// ---- notices ----

TopicRoutes::NoticeRoutes TopicRoutes::notice_routes(std::string_view topic, const EnginePosition& position) {
  NoticeRoutes result;
  for (auto& set : sets_) set.clear();
  for_each_match(topic, [&](const SubscribedPattern& pattern) {
    for (const auto& audience : pattern.audiences) {
      if (audience->format == Format::zmtp || !audience->may_read(topic)) continue;
      result.began_after =
          result.began_after || (position.position > 0 && audience->newest_start.covers(position));
      if (!audience->notices && audience->every.count() > 0) continue;
      sets_[static_cast<std::size_t>(audience->format)].push_back(audience->id);
    }
  });
  result.any = std::any_of(sets_.begin(), sets_.end(), [](const auto& set) { return !set.empty(); });
  if (result.began_after || !result.any) return result;
  for (std::size_t format = 0; format < format_count; ++format) {
    std::sort(sets_[format].begin(), sets_[format].end());
    routes_.replace(notice_routes_[format], sets_[format]);
  }
  result.routes = notice_routes_;
  return result;
}

}  // namespace backplane::gateway
