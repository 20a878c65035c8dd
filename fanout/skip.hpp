#pragma once
// Messages that a client has from a replay.

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

/// Messages of the log that a client must not get, because it has them already, for example from a replay,
/// which may have run ahead of the log. One thread fills it; once it is shared, it does not change, and the
/// same one can serve any number of clients.
class Skip {
 public:
  struct StreamPosition {
    StreamId stream{};
    std::uint64_t position{};
  };

  /// Adds messages of `topic` that belong to `stream` and have at most this position. They are skipped
  /// through any audience.
  void add_topic(TopicId topic, StreamId stream, std::uint64_t position);
  /// Adds messages of the released audience, of any topic, that belong to `stream` and have at most this
  /// position.
  void add_stream(StreamId stream, std::uint64_t position);

  /// Exempts messages that also go to this audience from add_stream(): they come from there, and the replay
  /// did not contain them.
  void except(AudienceId audience) { exceptions_.push_back(audience); }

  [[nodiscard]] bool has_topic(TopicId topic, StreamId stream, std::uint64_t position) const noexcept;
  [[nodiscard]] bool has_stream(StreamId stream, std::uint64_t position) const noexcept;
  [[nodiscard]] std::span<const AudienceId> exceptions() const noexcept { return exceptions_; }
  /// Once every stream has reached its position here, no later message is in the skip, except late ones.
  [[nodiscard]] std::span<const StreamPosition> ends() const noexcept { return ends_; }

 private:
  std::unordered_map<std::uint64_t, std::uint64_t> topics_;  ///< position by topic and stream
  std::vector<StreamPosition> streams_;
  std::vector<StreamPosition> ends_;
  std::vector<AudienceId> exceptions_;
};

/// nullptr: nothing is skipped.
using SkipPtr = std::shared_ptr<const Skip>;

/// The skips that apply to one client, each with its audience. A skip's topics apply through any audience;
/// its streams apply to messages that its audience gets. Belongs to a CatchUp.
class SkipList {
 public:
  struct Entry {
    AudienceId audience;
    SkipPtr skip;
    std::vector<AudienceId> exceptions;  ///< Skip::exceptions(), under the audiences' current names
  };

  void add(AudienceId audience, SkipPtr skip) {
    std::vector<AudienceId> exceptions(skip->exceptions().begin(), skip->exceptions().end());
    entries_.push_back({audience, std::move(skip), std::move(exceptions)});
  }
  void add(Entry entry) { entries_.push_back(std::move(entry)); }
  /// The client gets through `to` what it got through `from`.
  void transfer(AudienceId from, AudienceId to) {
    for (Entry& each : entries_) {
      if (each.audience == from) each.audience = to;
      std::replace(each.exceptions.begin(), each.exceptions.end(), from, to);
    }
  }
  void drop(AudienceId audience) {
    std::erase_if(entries_, [=](const Entry& each) { return each.audience == audience; });
  }
  /// Removes the skips for which ended(entry) is true.
  template <class Ended>
  void erase_if(Ended&& ended) {
    std::erase_if(entries_, ended);
  }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  /// Whether a skip contains message `index`. goes_to(audience): whether the audience gets that message.
  template <class GoesTo>
  [[nodiscard]] bool has(const Segment& segment, std::uint32_t index, GoesTo&& goes_to) const {
    const StreamId stream = segment.stream(index);
    const std::uint64_t position = segment.position(index);
    return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& each) {
      return each.skip->has_topic(segment.topic(index), stream, position) ||
             (each.skip->has_stream(stream, position) && goes_to(each.audience) &&
              std::none_of(each.exceptions.begin(), each.exceptions.end(), goes_to));
    });
  }

 private:
  std::vector<Entry> entries_;
};

}  // namespace backplane::fanout
