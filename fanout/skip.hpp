#pragma once
// What a client has been given by another way than the log.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fanout/log/ids.hpp"
#include "fanout/log/segment.hpp"

namespace backplane::fanout {

/// Says which messages of the log a client is not to get, because it got them already: by a replay, say,
/// which may have run ahead of the log. Filled by one thread; unchanged once it is shared, which costs
/// nothing: the same one may serve any number of clients.
class Skip {
 public:
  /// The stream has been read up to this position.
  struct StreamPosition {
    StreamId stream{};
    std::uint64_t position{};
  };

  /// Messages of `topic` that belong to `stream` and have at most this position.
  void add_topic(TopicId topic, StreamId stream, std::uint64_t position);
  /// Messages of the audience that is released, of any topic, that belong to `stream` and have at most this
  /// position.
  void add_stream(StreamId stream, std::uint64_t position);

  [[nodiscard]] bool has_topic(TopicId topic, StreamId stream, std::uint64_t position) const noexcept;
  [[nodiscard]] bool has_stream(StreamId stream, std::uint64_t position) const noexcept;
  /// Where every stream has come so far, no message to come is in it, but for those that come late.
  [[nodiscard]] std::span<const StreamPosition> ends() const noexcept { return ends_; }

 private:
  std::unordered_map<std::uint64_t, std::uint64_t> topics_;  ///< position by topic and stream
  std::vector<StreamPosition> streams_;
  std::vector<StreamPosition> ends_;
};

/// nullptr: nothing is left out.
using SkipPtr = std::shared_ptr<const Skip>;

/// The skips that apply to one client, each for one audience: its topics whichever audience gives a message,
/// its streams where that one gives it too. A value of its client's.
class SkipList {
 public:
  struct Entry {
    AudienceId audience;
    SkipPtr skip;
  };

  void add(AudienceId audience, SkipPtr skip) { entries_.push_back({audience, std::move(skip)}); }
  void drop(AudienceId audience) {
    std::erase_if(entries_, [=](const Entry& each) { return each.audience == audience; });
  }
  /// Takes out those for which ended(kept) holds.
  template <class Ended>
  void erase_if(Ended&& ended) {
    std::erase_if(entries_, ended);
  }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  /// Whether one of them has message `index`. gives(audience): whether that one gives it.
  template <class Gives>
  [[nodiscard]] bool has(const Segment& segment, std::uint32_t index, Gives&& gives) const {
    const StreamId stream = segment.stream(index);
    const std::uint64_t position = segment.position(index);
    return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& each) {
      return each.skip->has_topic(segment.topic(index), stream, position) ||
             (each.skip->has_stream(stream, position) && gives(each.audience));
    });
  }

 private:
  std::vector<Entry> entries_;
};

}  // namespace backplane::fanout
