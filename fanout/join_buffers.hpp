#pragma once
// What one client is not given yet, and what it is not to be given again.

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "fanout/log/ids.hpp"
#include "fanout/log/log.hpp"
#include "fanout/skip.hpp"

namespace backplane::fanout {

/// Messages of one client that wait for a release, and skips that still apply. Only a client that catches
/// up has one. Lives on its worker's thread; holds the segments of what waits.
///
/// A message waits where every audience that would give it is held, or where an earlier one of its topic
/// waits. It is `due` when an audience gives it at last, and leaves when it is due and no earlier one of its
/// topic waits.
class JoinBuffers {
 public:
  /// A message that waits no more. Whoever gets it lets go of the segment (LogReader::unpin).
  struct Ready {
    Segment* segment;
    std::uint32_t index;
    AudienceId via;  ///< gives it
    bool throttled;  ///< that one has an interval
    [[nodiscard]] std::uint64_t number() const noexcept { return segment->base() + index; }
  };

  /// `reader` outlives it.
  explicit JoinBuffers(LogReader& reader) noexcept : reader_(reader) {}
  ~JoinBuffers();
  JoinBuffers(const JoinBuffers&) = delete;
  JoinBuffers& operator=(const JoinBuffers&) = delete;

  void begin(AudienceId audience) { buffers_.try_emplace(audience); }

  [[nodiscard]] bool has(AudienceId audience) const noexcept { return buffers_.contains(audience); }

  // For each run of the log, in this order: begin_run(), perhaps more than once; messages that an audience
  // gives; those that are held. No hold ends within a run.

  /// @returns whether it has not begun yet.
  bool begin_run(const Segment& segment, std::uint32_t first);
  /// Something of the topic waits, so what comes behind it must.
  [[nodiscard]] bool waits(TopicId topic) const noexcept { return chains_.contains(topic); }
  /// A message that `by` gives, behind what waits of its topic.
  void add_behind(Segment& segment, std::uint32_t index, AudienceId via, bool throttled);
  /// Messages [first, last) of a held audience. Where they are `given` already, those that wait also wait
  /// for this audience, and the rest is left alone.
  /// @returns how many now wait that neither an audience gave nor another one held.
  std::uint64_t add(AudienceId audience, Segment& segment, std::uint32_t first, std::uint32_t last,
                    bool dispatched);

  /// Ends the hold: its messages are due, but for those that `skip` has.
  /// @param skipped is increased by how many those are
  /// @returns what leaves, in the order of the log.
  [[nodiscard]] std::vector<Ready> release(AudienceId audience, bool throttled, const Skip* skip,
                                           std::uint64_t& skipped);
  /// Ends the hold and forgets what only this audience gives. @returns what leaves.
  /// @param discarded is increased by how many those are
  [[nodiscard]] std::vector<Ready> discard(AudienceId audience, std::uint64_t& discarded);

  /// Messages that wait.
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// Of all that waits, with what the waiting itself takes.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool has_buffers() const noexcept { return !buffers_.empty(); }
  /// The hold with most to wait for it. Only where there is one.
  [[nodiscard]] AudienceId largest() const noexcept;
  /// JoinBuffers for which messages with a number below `position` wait.
  [[nodiscard]] std::vector<AudienceId> pinning_before(std::uint64_t position) const;

  /// Nothing waits, and no audience is buffering.
  [[nodiscard]] bool empty() const noexcept { return buffers_.empty() && chains_.empty(); }

 private:
  using Index = std::uint32_t;
  static constexpr Index none = 0xFFFF'FFFF;
  enum class State : std::uint8_t { buffered, released, done };
  struct Node {
    Segment* segment;  ///< held, until it is done
    std::uint32_t index;
    std::uint32_t buffers;  ///< that list it
    Index next;             ///< of its topic
    AudienceId via;         ///< gives it, where it is due
    State state;
    bool throttled;
    bool in_chain;  ///< not yet taken from its topic's chain
  };
  struct Chain {
    Index head;
    Index tail;
  };
  struct Buffer {
    std::vector<Index> nodes;  ///< in the order of the log
    std::size_t bytes{};
  };
  /// A node of the run that is being given.
  struct RunNode {
    std::uint32_t index;
    Index node;
  };

  Index add_node(Segment& segment, std::uint32_t index);
  [[nodiscard]] static std::size_t size_of(const Node& node) noexcept;
  void add_to(Buffer& buffer, Index node);
  void finish(Node& node) noexcept;
  void free_if_unused(Index index);
  void collect_ready(TopicId topic, std::vector<Ready>& ready);
  template <class Release>
  std::vector<Ready> end(AudienceId audience, Release&& release);

  LogReader& reader_;
  std::vector<Node> nodes_;
  std::vector<Index> free_;
  std::unordered_map<AudienceId, Buffer> buffers_;
  std::unordered_map<TopicId, Chain> chains_;  ///< the first of each waits
  std::vector<RunNode> run_nodes_;
  std::uint64_t run_{~std::uint64_t{0}};  ///< number of the first message of the run that they are of
  std::size_t bytes_{};
  std::uint64_t count_{};
};

}  // namespace backplane::fanout
