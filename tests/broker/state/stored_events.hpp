#pragma once
// Events for a store: some bytes that end in a stamp.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "broker/state/history_store.hpp"
#include "core/topic/pattern.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::broker::testing {

inline Pattern pattern(std::string_view text) {
  return Pattern::parse(text).value();
}

/// An event as a store receives it, with the bytes that it refers to.
struct Stamped {
  std::string topic;
  std::vector<std::byte> bytes;
  wire::Stamp stamp;
  bool clears_value{};

  Stamped(std::string name, wire::Stamp with, std::size_t payload_bytes, bool clears)
      : topic(std::move(name)), bytes(payload_bytes + wire::stamp_bytes), stamp(with), clears_value(clears) {
    for (std::size_t i = 0; i < payload_bytes; ++i) bytes[i] = static_cast<std::byte>(stamp.position + i);
    wire::write_stamp(stamp, std::span(bytes).last<wire::stamp_bytes>());
  }
  [[nodiscard]] HistoryAppend append() const { return {topic, bytes, stamp, clears_value}; }
};

/// Numbers events as the broker does.
class Numbering {
 public:
  Stamped next(const std::string& topic, std::int64_t received_ns, std::size_t payload_bytes = 20,
               bool clears_value = false) {
    Last& last = last_[topic];
    const wire::Stamp stamp{.stream = 7,
                            .position = ++position_,
                            .offset = last.offset + 1,
                            .previous = last.position,
                            .received_ns = received_ns};
    last = {stamp.position, stamp.offset};
    return Stamped(topic, stamp, payload_bytes, clears_value);
  }
  [[nodiscard]] std::uint64_t position() const { return position_; }
  /// As if other events had been published.
  void skip_to(std::uint64_t position) { position_ = position; }
  /// As after a restart.
  void restore(const HistoryStore::Opened& opened) {
    position_ = opened.position;
    last_.clear();
    for (const HistoryStore::Tail& tail : opened.tails) last_[tail.topic] = {tail.position, tail.offset};
  }

 private:
  struct Last {
    std::uint64_t position{};
    std::uint64_t offset{};
  };
  std::map<std::string, Last> last_;
  std::uint64_t position_{0};
};

inline wire::Stamp stamp_of(const StoredEvent& stored) {
  return wire::read_stamp(stored.event).value();
}

inline std::vector<std::uint64_t> positions(const ReadSlice& slice) {
  std::vector<std::uint64_t> all;
  for (const StoredEvent& stored : slice.events) all.push_back(stamp_of(stored).position);
  return all;
}

inline std::vector<std::string> topics(const ReadSlice& slice) {
  std::vector<std::string> all;
  for (const StoredEvent& stored : slice.events) all.emplace_back(stored.topic);
  return all;
}

inline ReadSlice read(HistoryStore& store, const ReadRequest& request) {
  const std::uint64_t ticket = store.start_read(request);
  std::optional<ReadSlice> slice = store.next_slice();
  EXPECT_TRUE(slice.has_value());
  EXPECT_EQ(slice->ticket, ticket);
  return std::move(*slice);
}

inline ReadRequest retained(std::string_view of) {
  ReadRequest request(pattern(of));
  request.what = ReadRequest::What::retained;
  return request;
}
inline ReadRequest after_position(std::string_view of, std::uint64_t position) {
  ReadRequest request(pattern(of));
  request.what = ReadRequest::What::after_position;
  request.position = position;
  return request;
}
inline ReadRequest after_offset(std::string_view of, std::uint64_t offset) {
  ReadRequest request(pattern(of));
  request.what = ReadRequest::What::after_offset;
  request.offset = offset;
  return request;
}
inline ReadRequest since(std::string_view of, std::int64_t time_ns) {
  ReadRequest request(pattern(of));
  request.what = ReadRequest::What::since_time;
  request.since_ns = time_ns;
  return request;
}

}  // namespace backplane::broker::testing
