#pragma once
// What a client has been given by another way than the log.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "fanout/log/ids.hpp"

namespace backplane::fanout {

/// Says which messages of the log a client is not to get, because it got them already: by a replay, say,
/// which may have run ahead of the log. Filled by one thread; unchanged once it is shared, which costs
/// nothing: the same one may serve any number of clients.
class Skip {
 public:
  /// The stream has been read up to this position.
  struct Reached {
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
  /// Where every stream has come so far, no message to come is in it.
  [[nodiscard]] std::span<const Reached> ends() const noexcept { return ends_; }

 private:
  std::unordered_map<std::uint64_t, std::uint64_t> topics_;  ///< position by topic and stream
  std::vector<Reached> streams_;
  std::vector<Reached> ends_;
};

/// nullptr: nothing is left out.
using SkipPtr = std::shared_ptr<const Skip>;

}  // namespace backplane::fanout
