#pragma once
// An event as it is written to clients.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "fanout/message.hpp"

namespace backplane::gateway {

/// An event in one format, with what must be said of it where it is dropped. Shared; nobody changes it.
class EventLine final : public fanout::Message {
 public:
  EventLine(std::string line, std::string topic, std::uint64_t stream, std::uint64_t offset)
      : Message(std::move(line)), topic_(std::move(topic)), stream_(stream), offset_(offset) {}

  [[nodiscard]] const std::string& topic() const noexcept { return topic_; }
  [[nodiscard]] std::uint64_t stream() const noexcept { return stream_; }
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }

 private:
  std::string topic_;
  std::uint64_t stream_;
  std::uint64_t offset_;
};

using EventLinePtr = std::shared_ptr<const EventLine>;

}  // namespace backplane::gateway
