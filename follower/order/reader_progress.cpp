#include "follower/order/reader_progress.hpp"

#include <algorithm>
#include <limits>

#include "follower/order/delivery.hpp"

namespace backplane {
namespace {

constexpr std::size_t streams_max = 64;  // as many as a resume token may name

}  // namespace

bool ReaderProgress::admit(std::string_view topic, std::uint64_t stream, std::uint64_t position,
                           std::uint64_t offset) {
  Stream& of = at(stream);
  if (offset == 0) return true;
  const auto known = of.topics.find(topic);
  if (known != of.topics.end() && offset <= known->second.offset) return false;
  record(of, topic, {offset, position});
  return true;
}

bool ReaderProgress::follows(std::string_view topic, std::uint64_t stream, std::uint64_t offset) const {
  const auto of = std::ranges::find(streams_, stream, &Stream::id);
  if (of == streams_.end()) return true;
  const auto known = of->topics.find(topic);
  return known == of->topics.end() || offset <= known->second.offset + 1;
}

void ReaderProgress::lose(std::string_view topic, std::uint64_t stream, std::uint64_t last) {
  Stream& of = at(stream);
  const auto known = of.topics.find(topic);
  if (known != of.topics.end() && last <= known->second.offset) return;
  // The position of the last one is unknown.
  record(of, topic, {last, std::numeric_limits<std::uint64_t>::max()});
}

void ReaderProgress::record(Stream& stream, std::string_view topic, Received received) {
  const auto known = stream.topics.find(topic);
  if (known != stream.topics.end()) {
    known->second = received;
  } else {
    stream.topics.emplace(topic, received);
  }
}

void ReaderProgress::restart(std::uint64_t stream) {
  Stream& begun = at(stream);
  if (!begun.before_connection) return;
  // The same number, but it has not reached the position: another incarnation.
  begun = Stream{.id = stream, .known_complete = begun.known_complete, .topics = {}};
}

void ReaderProgress::complete(const StreamPositions& to) {
  for (const StreamPosition& each : to) {
    Stream& stream = at(each.stream);
    stream.known_complete = true;
    stream.complete = std::max(stream.complete, each.position);
    std::erase_if(stream.topics, [&](const auto& topic) { return topic.second.position <= stream.complete; });
  }
}

void ReaderProgress::on_disconnected() noexcept {
  for (Stream& stream : streams_) stream.before_connection = true;
}

StreamPositions ReaderProgress::resume_at() const {
  StreamPositions positions;
  for (const Stream& stream : streams_) {
    if (stream.known_complete) positions.push_back({stream.id, stream.complete});
  }
  return positions;
}

std::size_t ReaderProgress::topics() const noexcept {
  std::size_t count = 0;
  for (const Stream& stream : streams_) count += stream.topics.size();
  return count;
}

ReaderProgress::Stream* ReaderProgress::find(std::uint64_t stream) noexcept {
  const auto found =
      std::find_if(streams_.begin(), streams_.end(), [&](const Stream& each) { return each.id == stream; });
  return found == streams_.end() ? nullptr : &*found;
}

ReaderProgress::Stream& ReaderProgress::at(std::uint64_t stream) {
  if (Stream* const known = find(stream)) return *known;
  // A new incarnation of a known broker is read from its beginning.
  const auto ended = [&](const Stream& each) { return origin(each.id) == origin(stream); };
  const bool resumes = std::any_of(streams_.begin(), streams_.end(),
                                   [&](const Stream& each) { return ended(each) && each.known_complete; });
  std::erase_if(streams_, ended);
  if (streams_.size() == streams_max) streams_.erase(streams_.begin());
  streams_.push_back(Stream{.id = stream, .known_complete = resumes, .topics = {}});
  return streams_.back();
}

}  // namespace backplane
