#pragma once
// A fake of the broker, for tests of the hub.

#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "backplane/v1/event.pb.h"
#include "core/wire/stamp.hpp"
#include "follower/broker_reader.hpp"
#include "follower/order/delivery.hpp"

namespace backplane::gateway {

class FakeReader final : public BrokerReader {
 public:
  struct Replay {
    std::uint64_t request;
    std::string pattern;
    ReplayFrom from;
    int asked{1};  ///< slices requested
  };

  std::uint64_t subscribe(std::string_view prefix) override {
    ++prefixes[std::string(prefix)];
    return ++tickets;
  }
  void unsubscribe(std::string_view prefix) override {
    if (--prefixes[std::string(prefix)] == 0) prefixes.erase(std::string(prefix));
  }
  std::uint64_t retained(std::string_view pattern) override {
    asked.emplace_back(pattern);
    return ++requests;
  }
  std::uint64_t replay(std::string_view pattern, const ReplayFrom& from) override {
    replays.push_back({++requests, std::string(pattern), from});
    return requests;
  }
  void replay_more(std::uint64_t request) override {
    for (Replay& replay : replays) {
      if (replay.request == request) ++replay.asked;
    }
  }
  void cancel(std::uint64_t request) override { cancelled.push_back(request); }
  [[nodiscard]] StreamPositions live_positions() const override {
    return live_position_now.stream == 0 ? StreamPositions{} : StreamPositions{live_position_now};
  }
  [[nodiscard]] bool is_recovering() const override { return is_recovering_now; }
  [[nodiscard]] StreamPositions low_watermarks() const override { return {low_watermark_now}; }
  [[nodiscard]] bool may_arrive(std::string_view topic, const wire::Stamp& stamp) const override {
    return may_arrive_now(topic, stamp);
  }
  void topics(std::string_view pattern, std::string_view cursor,
              std::function<void(Result<TopicsPage>)> handler) override {
    topics_asked.push_back(std::string(pattern) + "@" + std::string(cursor));
    topics_handler = std::move(handler);
  }

  void types(const std::vector<std::string>&, std::function<void(Result<TypesReply>)>) override {}
  [[nodiscard]] std::size_t broker() const override { return 0; }

  std::map<std::string, int> prefixes;
  std::uint64_t tickets{};
  std::uint64_t requests{};
  std::vector<std::string> asked;  ///< patterns whose retained values were requested
  std::vector<Replay> replays;
  std::vector<std::uint64_t> cancelled;
  StreamPosition live_position_now;
  bool is_recovering_now{};
  StreamPosition low_watermark_now;
  /// By default, all subscriptions began before the first event.
  std::function<bool(std::string_view, const wire::Stamp&)> may_arrive_now =
      [](std::string_view, const wire::Stamp&) { return true; };
  std::vector<std::string> topics_asked;
  std::function<void(Result<TopicsPage>)> topics_handler;
};

/// Makes stamped text events of one stream, numbered as a broker numbers them.
class NumberedEvents {
 public:
  explicit NumberedEvents(std::uint64_t stream = 0x1'00000001) : stream_(stream) {}

  struct Event {
    std::string topic;
    std::string bytes;
    wire::Stamp stamp;

    /// Valid as long as the event.
    [[nodiscard]] Delivery delivery() const {
      return Delivery{topic, std::as_bytes(std::span(bytes)), stamp};
    }
  };

  Event publish(const std::string& topic, const std::string& text) {
    v1::Event event;
    event.set_text(text);
    return stamped(topic, event.SerializeAsString());
  }
  Event publish(const std::string& topic, const v1::Event& event) {
    return stamped(topic, event.SerializeAsString());
  }
  /// Publishes an event without payload, which clears the retained value.
  Event clear(const std::string& topic) { return stamped(topic, ""); }
  /// Publishes the topic's next event, which is lost on the way. @returns its offset.
  std::uint64_t lose(const std::string& topic) { return publish(topic, "lost").stamp.offset; }
  [[nodiscard]] std::uint64_t position() const { return position_; }
  [[nodiscard]] std::uint64_t stream() const { return stream_; }

 private:
  Event stamped(const std::string& topic, std::string bytes) {
    Event result{topic, std::move(bytes), {}};
    result.stamp = {stream_, ++position_, ++offsets_[topic], 0, 0};
    std::array<std::byte, wire::stamp_bytes> tail{};
    wire::write_stamp(result.stamp, tail);
    result.bytes.append(reinterpret_cast<const char*>(tail.data()), tail.size());
    return result;
  }

  std::uint64_t stream_;
  std::uint64_t position_{};
  std::map<std::string, std::uint64_t> offsets_;
};

}  // namespace backplane::gateway
