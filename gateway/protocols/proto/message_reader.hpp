#pragma once
// Bytes into length-delimited messages.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace backplane::gateway::proto {

/// Puts messages together from bytes that come in any pieces; each stands behind its length, a varint.
/// Belongs to one session; holds at most one message.
class MessageReader {
 public:
  /// Why a stream of messages cannot go on: nobody knows where the next one begins.
  enum class Fault : std::uint8_t {
    none,
    bad_length,  ///< no varint of at most 5 bytes
    too_long,    ///< above the limit
  };

  /// @param message_bytes_max the longest message that is taken
  explicit MessageReader(std::size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  /// `message` holds until the call returns. @returns whether to go on.
  using OnMessage = std::function<bool(std::string_view message)>;

  /// Calls `on_message` for each message that `bytes` end. @returns what is wrong with the stream; then
  /// nothing more is taken from it, now or later.
  [[nodiscard]] Fault feed(std::string_view bytes, const OnMessage& on_message);

  /// Nothing of a message is held: the stream may end here.
  [[nodiscard]] bool at_boundary() const noexcept { return partial_.empty() && fault_ == Fault::none; }

 private:
  [[nodiscard]] bool split(std::string_view bytes, std::string_view& message, std::size_t& used);

  const std::size_t message_bytes_max_;
  std::string partial_;  // with its length
  Fault fault_{Fault::none};
};

}  // namespace backplane::gateway::proto
