#pragma once
// What is written to many.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace backplane::fanout {

/// Bytes that any number of sessions write: encoded once, shared by reference, changed by nobody. What
/// they mean is the protocol's; it derives from this what it must know of an event that was dropped.
class Message {
 public:
  explicit Message(std::string bytes) : bytes_(std::move(bytes)) {}
  virtual ~Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  [[nodiscard]] std::string_view bytes() const noexcept { return bytes_; }

 private:
  std::string bytes_;
};

using MessagePtr = std::shared_ptr<const Message>;

}  // namespace backplane::fanout
