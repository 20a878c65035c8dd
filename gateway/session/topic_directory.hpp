#pragma once
// What the engine's topic ids stand for.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>

#include "fanout/log/ids.hpp"
#include "fanout/loss_ranges.hpp"
#include "gateway/session/notice.hpp"

namespace backplane::gateway {

/// Numbers for topics, one a topic and stream so that no account of losses mixes two lives of a broker, and
/// for notices, one each so that none supersedes another: where a client loses a notice, its report of losses
/// says it. The hub's thread makes and retires numbers; sessions ask on their workers, and only where they
/// have lost something: a mutex guards all.
class TopicDirectory {
 public:
  using Name = std::shared_ptr<const std::string>;

  /// @param retired_max so many numbers are known for some time after their end, as clients that read slowly
  ///        have yet to be told of them
  explicit TopicDirectory(std::size_t retired_max = 1u << 20) : retired_max_(retired_max) {}

  [[nodiscard]] fanout::TopicId add_topic(Name name, std::uint64_t stream);
  /// A number that is retired at once.
  [[nodiscard]] fanout::TopicId add_notice(Notice notice);
  void retire(fanout::TopicId id);

  /// Any thread. Appends a line for each loss: `!GAP topic first last slow_consumer`, or the notice that was
  /// lost. For numbers that are forgotten already, one line says that nobody knows how much it was.
  void report(Format format, std::span<const fanout::Loss> losses, std::string& out) const;

 private:
  struct Topic {
    Name name;
    std::uint64_t stream;
  };
  using Entry = std::variant<Topic, std::unique_ptr<const Notice>>;

  fanout::TopicId add(Entry entry);
  void retire_locked(fanout::TopicId id);

  const std::size_t retired_max_;
  mutable std::mutex mutex_;  // guards all below
  std::unordered_map<fanout::TopicId, Entry> entries_;
  std::deque<fanout::TopicId> retired_;
  std::uint32_t last_{};
};

}  // namespace backplane::gateway
