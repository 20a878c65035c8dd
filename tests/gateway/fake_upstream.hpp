#pragma once
// A broker as a hub sees it, played by a test.

#include <array>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "backplane/v1/event.pb.h"
#include "core/wire/stamp.hpp"
#include "gateway/hub.hpp"

namespace backplane::gateway {

class FakeUpstream final : public Upstream {
 public:
  std::uint64_t subscribe(std::string_view prefix) override {
    ++prefixes[std::string(prefix)];
    return ++tickets;
  }
  void unsubscribe(std::string_view prefix) override {
    if (--prefixes[std::string(prefix)] == 0) prefixes.erase(std::string(prefix));
  }
  std::uint64_t retained(std::string_view pattern) override {
    asked.emplace_back(pattern);
    return asked.size();
  }

  std::map<std::string, int> prefixes;
  std::uint64_t tickets{};
  std::vector<std::string> asked;  ///< retained requests; the first is number 1
};

/// Stamped text events of one stream, numbered as a broker numbers them.
class FakeBroker {
 public:
  explicit FakeBroker(std::uint64_t stream = 0x1'00000001) : stream_(stream) {}

  struct Event {
    std::string topic;
    std::string bytes;
    wire::Stamp stamp;

    /// Holds as long as the event.
    [[nodiscard]] Delivery delivery() const {
      return Delivery{topic, std::as_bytes(std::span(bytes)), stamp};
    }
  };

  Event publish(const std::string& topic, const std::string& text) {
    v1::Event event;
    event.set_text(text);
    Event result{topic, event.SerializeAsString(), {}};
    result.stamp = {stream_, ++position_, ++offsets_[topic], 0, 0};
    std::array<std::byte, wire::stamp_bytes> tail{};
    wire::write_stamp(result.stamp, tail);
    result.bytes.append(reinterpret_cast<const char*>(tail.data()), tail.size());
    return result;
  }
  /// Publishes the topic's next event and returns its offset only: it is lost on the way.
  std::uint64_t lose(const std::string& topic) { return publish(topic, "lost").stamp.offset; }

 private:
  std::uint64_t stream_;
  std::uint64_t position_{};
  std::map<std::string, std::uint64_t> offsets_;
};

}  // namespace backplane::gateway
