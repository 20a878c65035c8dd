#pragma once
// Messages that wait until their client has received a replay.

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "fanout/log/ids.hpp"
#include "fanout/log/log.hpp"
#include "fanout/skip.hpp"

namespace backplane::fanout {

/// The join buffers of one client. Belongs to its CatchUp. Lives on its worker's thread; pins the segments of
/// messages that wait.
///
/// A message waits while every audience that has it for the client is buffering, or while an earlier message
/// of its topic waits. It is `released` when an active audience has it, and leaves once no earlier message of
/// its topic is `buffered`.
class JoinBuffers {
 public:
  /// A message that need not wait any longer. Its receiver unpins the segment (LogReader::unpin).
  struct Ready {
    Segment* segment;
    std::uint32_t index;
    AudienceId via;  ///< the audience through which it comes
    bool throttled;  ///< that audience has an interval
    [[nodiscard]] std::uint64_t number() const noexcept { return segment->base() + index; }
  };

  /// `reader` outlives it.
  explicit JoinBuffers(LogReader& reader) noexcept : reader_(reader) {}
  ~JoinBuffers();
  JoinBuffers(const JoinBuffers&) = delete;
  JoinBuffers& operator=(const JoinBuffers&) = delete;

  void begin(AudienceId audience) { buffers_.try_emplace(audience); }

  [[nodiscard]] bool has(AudienceId audience) const noexcept { return buffers_.contains(audience); }

  // For each run of the log, in this order: begin_run(), any number of times; messages that come through
  // active audiences; messages that come through buffering ones. No buffer ends within a run.

  /// @returns whether this is the run's first call.
  bool begin_run(const Segment& segment, std::uint32_t first);
  /// Whether a message of the topic waits; later ones must wait behind it.
  [[nodiscard]] bool waits(TopicId topic) const noexcept { return chains_.contains(topic); }
  /// Adds a message of an active audience behind those of its topic.
  void add_behind(Segment& segment, std::uint32_t index, AudienceId via, bool throttled);
  /// Adds messages [first, last) of a buffering audience. If the client has claimed them already, only those
  /// that wait are added to this audience's buffer too.
  /// @returns how many of them no other audience had for the client
  std::uint64_t add(AudienceId audience, Segment& segment, std::uint32_t first, std::uint32_t last,
                    bool claimed);

  /// Ends the audience's buffer: releases its messages, and removes those that `skip` contains.
  /// @param skipped is increased by the number of these
  /// @returns the messages that leave, in the order of the log
  [[nodiscard]] std::vector<Ready> release(AudienceId audience, bool throttled, const Skip* skip,
                                           std::uint64_t& skipped);
  /// Ends the audience's buffer, and discards messages that no other audience has for the client.
  /// @param discarded is increased by the number of these
  /// @returns the messages that leave, in the order of the log
  [[nodiscard]] std::vector<Ready> discard(AudienceId audience, std::uint64_t& discarded);

  /// Messages that wait.
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// The memory of all messages that wait, including what the buffers themselves need.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool has_buffers() const noexcept { return !buffers_.empty(); }
  /// The audience with the largest buffer. Only if has_buffers().
  [[nodiscard]] AudienceId largest() const noexcept;
  /// Audiences whose buffers have messages with a number below `position`.
  [[nodiscard]] std::vector<AudienceId> pinning_before(std::uint64_t position) const;

  /// Whether no audience is buffering and no message waits.
  [[nodiscard]] bool empty() const noexcept { return buffers_.empty() && chains_.empty(); }

 private:
  using Index = std::uint32_t;
  static constexpr Index none = 0xFFFF'FFFF;
  enum class State : std::uint8_t { buffered, released, done };
  struct Node {
    Segment* segment;  ///< pinned, until the node is done
    std::uint32_t index;
    std::uint32_t buffers;  ///< how many buffers list it
    Index next;             ///< of its topic
    AudienceId via;         ///< if it is released
    State state;
    bool throttled;
    bool in_chain;  ///< not yet removed from its topic's chain
  };
  /// The messages of a topic, oldest first.
  struct Chain {
    Index head;
    Index tail;
  };
  struct Buffer {
    std::vector<Index> nodes;  ///< in the order of the log
    std::size_t bytes{};
  };
  /// A node of the current run.
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
  std::unordered_map<TopicId, Chain> chains_;  ///< the first message of each is buffered
  std::vector<RunNode> run_nodes_;
  std::uint64_t run_{~std::uint64_t{0}};  ///< number of the first message of the current run
  std::size_t bytes_{};
  std::uint64_t count_{};
};

}  // namespace backplane::fanout
