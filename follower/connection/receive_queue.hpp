#pragma once
// Messages that were received and have yet to be handled.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include <zmq.hpp>

namespace backplane::follower {

/// A queue with limits of messages and of bytes: ZeroMQ's queues count messages only. Lives on one thread.
class ReceiveQueue {
 public:
  struct Message {
    zmq::message_t topic;
    zmq::message_t event;
  };

  /// @param bytes_max the last message may exceed it
  ReceiveQueue(std::size_t count_max, std::size_t bytes_max) noexcept
      : count_max_(count_max), bytes_max_(bytes_max) {}

  [[nodiscard]] bool empty() const noexcept { return messages_.empty(); }
  [[nodiscard]] bool is_full() const noexcept {
    return bytes_ >= bytes_max_ || messages_.size() >= count_max_;
  }
  /// Not if it is full.
  void push(Message message) {
    bytes_ += bytes_of(message);
    messages_.push_back(std::move(message));
    if (is_full()) ++times_full_;
  }
  /// Not if it is empty.
  [[nodiscard]] Message pop() {
    Message first = std::move(messages_.front());
    messages_.pop_front();
    bytes_ -= bytes_of(first);
    return first;
  }

  /// What its messages occupy.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// How often it has become full.
  [[nodiscard]] std::uint64_t times_full() const noexcept { return times_full_; }

 private:
  [[nodiscard]] static std::size_t bytes_of(const Message& message) noexcept {
    return sizeof(Message) + message.topic.size() + message.event.size();
  }

  const std::size_t count_max_;
  const std::size_t bytes_max_;
  std::deque<Message> messages_;
  std::size_t bytes_{};
  std::uint64_t times_full_{};
};

}  // namespace backplane::follower
