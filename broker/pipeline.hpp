#pragma once
// What happens to an event: admit ▸ stamp ▸ remember ▸ count ▸ publish. Start reading in pipeline.cpp.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <zmq.hpp>

#include "broker/egress/egress.hpp"
#include "broker/ingress/refusal.hpp"
#include "broker/state/backplane_state.hpp"
#include "core/log/log.hpp"

namespace backplane::broker {

/// Takes events in, numbers them, remembers them and sends them on, in batches. Lives on the loop thread of
/// its backplane; owns only the batch under way, all else is the backplane's state.
class Pipeline {
 public:
  using UnixClock = std::function<std::int64_t()>;  ///< nanoseconds

  /// All three outlive the pipeline.
  Pipeline(BackplaneState& state, EgressSink& sink, UnixClock now);

  /// What is known of a topic, or nullptr; for as long as the state. Of some topics, one after the other:
  /// with very many topics each search waits for memory, and those of several go on side by side.
  [[nodiscard]] TopicEntry* find_topic(std::string_view name);
  /// One message of a publisher: [topic][Event]. The frames are moved from. `known`: what find_topic() gave,
  /// where it was asked.
  void take(zmq::message_t& topic, zmq::message_t& event, TopicEntry* known = nullptr);
  /// One message of a PUB that knows no protobuf: [topic][bytes], made into an Event of source "raw".
  void take_raw(zmq::message_t& topic, zmq::message_t& bytes);
  /// A message that has not two frames: counted and logged.
  void refuse_frames(std::size_t frames);

  /// An event of the broker itself, on a $SYS topic: numbered, remembered and sent as any.
  void publish_system(std::string_view topic, std::string_view event);
  /// The same outside all numbering and memory: for the answers to $SYS.live. Call it after a flush().
  void publish_unnumbered(std::string_view topic, std::string_view event);

  /// Remembers and sends what was taken since the last call.
  /// @returns false where the history store is busy: nothing was sent; take nothing more, call again.
  [[nodiscard]] bool flush();
  [[nodiscard]] std::size_t pending() const noexcept { return appends_.size(); }

 private:
  struct Admitted {
    TopicEntry* topic{};  ///< nullptr until it is found
    bool clears_value{};
  };
  // What is published of an event; what is remembered of it is in appends_, at the same place.
  struct InFlight {
    zmq::message_t topic;
    zmq::message_t event;
    bool system{};
  };

  [[nodiscard]] Refusal admit(std::string_view topic, std::span<const std::byte> event, Admitted& admitted);
  [[nodiscard]] Refusal check(std::string_view topic, std::size_t event_bytes, Admitted& admitted);
  [[nodiscard]] Refusal follow(const wire::EventView& event, Refusal found, std::string_view topic,
                               Admitted& admitted);
  [[nodiscard]] std::int64_t batch_time();
  [[nodiscard]] InFlight& next_in_flight();
  void number(TopicEntry& entry, std::span<std::byte> stamped, bool clears_value);
  void count_lost(std::uint64_t events);
  void refuse(Refusal refusal, std::string_view topic, std::string_view detail);
  [[nodiscard]] bool remember();

  BackplaneState& state_;
  EgressSink& sink_;
  UnixClock now_;
  // The batch under way. Of the first, only as many as there are of the second are in use: the frames stay,
  // empty, and are used again.
  std::vector<InFlight> batch_;
  std::vector<HistoryAppend> appends_;
  TopicEntry* latest_topic_{};  ///< of the event looked at last; entries live as long as the state
  std::int64_t batch_time_ns_{};
  log::RateLimit refusal_lines_{std::chrono::seconds{1}};
};

}  // namespace backplane::broker
