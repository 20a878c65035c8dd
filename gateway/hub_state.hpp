#pragma once
// What a Hub keeps of readers, patterns and topics. Only hub*.cpp includes this.

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "gateway/hub.hpp"

namespace backplane::gateway {

/// The retained values that come before a subscription's live events, while they are asked for. What
/// comes live meanwhile is held, so that it follows them.
struct Hub::Join {
  struct FirstSeen {
    std::uint64_t stream;
    std::uint64_t offset;
    bool held;  ///< here; else the reader has it by another of its subscriptions
  };
  std::uint64_t request{};
  std::vector<std::pair<EventLinePtr, std::uint64_t>> values;  ///< with their positions
  std::vector<std::variant<EventLinePtr, Notice>> held;
  ByName<FirstSeen> first_seen;  ///< of each topic that came live meanwhile
  std::size_t bytes{};
};

/// One pattern of one reader.
struct Hub::Subscription {
  Reader* reader{};
  Interest* interest{};
  bool last{};                   ///< retained values are wanted
  bool active{};                 ///< in force at the broker: what comes concerns it
  bool delivering{};             ///< and is delivered at once, not held by a join
  std::uint64_t active_since{};  ///< serial of the last event before that
  std::size_t unanswered{};      ///< subscribes that wait for their answer
  std::unique_ptr<Join> join;
};

/// All subscriptions to one pattern. In force at the broker from its ticket on.
struct Hub::Interest {
  Pattern pattern;
  std::uint64_t ticket{};
  std::vector<Subscription*> subscriptions;
};

/// How far one topic has come, where somebody reads it.
struct Hub::TopicState {
  std::uint64_t stream{};
  std::uint64_t offset{};  ///< 0: the stream is new, nothing of it has been seen
  std::uint64_t serial{};  ///< of the event by which we know
};

class Hub::Reader {
 public:
  explicit Reader(Subscriber& subscriber) : subscriber_(subscriber) {}

  Subscriber& subscriber_;
  ByName<std::unique_ptr<Subscription>> subscriptions_;
  bool told_to_wait_{};
  // Of the event with this serial: some subscription delivers it at once; it is dealt with.
  std::uint64_t delivers_{};
  std::uint64_t done_{};
  std::uint64_t noticed_{};  // number of the last notice that it was told of
  /// Retained values shown that may yet come live: until the stream has passed the last of them.
  ByName<std::uint64_t> shown_;  ///< offset by topic
  std::uint64_t shown_stream_{};
  std::uint64_t shown_position_{};
};

}  // namespace backplane::gateway
