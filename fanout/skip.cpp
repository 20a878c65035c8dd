#include "fanout/skip.hpp"

#include <algorithm>

#include "core/error/error.hpp"

namespace backplane::fanout {
namespace {

std::uint64_t key(TopicId topic, StreamId stream) {
  return static_cast<std::uint64_t>(topic) << 16 | static_cast<std::uint64_t>(stream);
}

void reach(std::vector<Skip::StreamPosition>& all, StreamId stream, std::uint64_t position) {
  for (Skip::StreamPosition& each : all) {
    if (each.stream != stream) continue;
    each.position = std::max(each.position, position);
    return;
  }
  all.push_back({stream, position});
}

}  // namespace

void Skip::add_topic(TopicId topic, StreamId stream, std::uint64_t position) {
  CHECK(stream != no_stream, "a skip applies to messages of a stream");
  std::uint64_t& known = topics_[key(topic, stream)];
  known = std::max(known, position);
  reach(ends_, stream, position);
}

void Skip::add_stream(StreamId stream, std::uint64_t position) {
  CHECK(stream != no_stream, "a skip applies to messages of a stream");
  reach(streams_, stream, position);
  reach(ends_, stream, position);
}

bool Skip::has_topic(TopicId topic, StreamId stream, std::uint64_t position) const noexcept {
  const auto found = topics_.find(key(topic, stream));
  return found != topics_.end() && position <= found->second;
}

bool Skip::has_stream(StreamId stream, std::uint64_t position) const noexcept {
  return std::any_of(streams_.begin(), streams_.end(), [=](const StreamPosition& each) {
    return each.stream == stream && position <= each.position;
  });
}

}  // namespace backplane::fanout
