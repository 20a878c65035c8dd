#pragma once
// The topics and notices that the engine's topic ids stand for.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

#include "core/thread/mutex.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/loss_ranges.hpp"
#include "gateway/session/notice.hpp"

namespace backplane::gateway {

/// Assigns ids. A topic has one per stream, which keeps losses of two incarnations of a broker apart. Each
/// notice has its own, which keeps one notice from superseding another; if a client loses a notice, its loss
/// report contains the notice. The hub's thread assigns and retires ids. Sessions look them up on their
/// workers, only to report losses. A mutex guards everything.
class TopicDirectory {
 public:
  using Name = std::shared_ptr<const std::string>;

  /// @param retired_max how many retired ids are kept: slow clients have yet to report losses of them
  explicit TopicDirectory(std::size_t retired_max = 1u << 20) : retired_max_(retired_max) {}

  [[nodiscard]] fanout::TopicId add_topic(Name name, std::uint64_t stream);
  /// An id that is retired at once.
  [[nodiscard]] fanout::TopicId add_notice(Notice notice);
  void retire(fanout::TopicId id);

  /// Any thread. Appends a notice for each loss: `!GAP topic first last slow_consumer`, or the notice that
  /// was lost. If ids are unknown by now, one gap of unknown size stands for all of them.
  /// @param wanted whether losses of a topic are reported; nullptr: all are
  void report(Format format, std::span<const fanout::Loss> losses, std::string& out,
              const std::function<bool(std::string_view topic)>& wanted = nullptr) const;

 private:
  struct Topic {
    Name name;
    std::uint64_t stream;
  };
  using Entry = std::variant<Topic, std::unique_ptr<const Notice>>;

  fanout::TopicId add(Entry entry) REQUIRES(mutex_);
  void retire_locked(fanout::TopicId id) REQUIRES(mutex_);

  const std::size_t retired_max_;
  mutable Mutex mutex_;
  std::unordered_map<fanout::TopicId, Entry> entries_ GUARDED_BY(mutex_);
  std::deque<fanout::TopicId> retired_ GUARDED_BY(mutex_);
  std::uint32_t last_ GUARDED_BY(mutex_){};
};

}  // namespace backplane::gateway
