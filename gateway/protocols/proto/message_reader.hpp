#pragma once
// Splits bytes into length-delimited messages.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace backplane::gateway::proto {

/// Assembles messages from bytes that arrive in pieces of any size. Each message follows its length, a
/// varint. Belongs to one session; keeps at most one incomplete message.
class MessageReader {
 public:
  /// Why a stream of messages cannot continue: the start of the next message is unknown.
  enum class Fault : std::uint8_t {
    none,
    bad_length,  ///< not a varint of at most 5 bytes
    too_long,    ///< above the limit
  };

  /// @param message_bytes_max the longest message that is accepted
  explicit MessageReader(std::size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  /// `message` is valid until the call returns. @returns whether to continue.
  using OnMessage = std::function<bool(std::string_view message)>;

  /// Calls `on_message` for each message that `bytes` complete. @returns what is wrong with the stream. After
  /// a fault, all bytes are ignored.
  [[nodiscard]] Fault read(std::string_view bytes, const OnMessage& on_message);

  /// Whether there is no incomplete message: the stream may end here.
  [[nodiscard]] bool at_boundary() const noexcept { return partial_.empty() && fault_ == Fault::none; }

 private:
  [[nodiscard]] bool split(std::string_view bytes, std::string_view& message, std::size_t& used);

  const std::size_t message_bytes_max_;
  std::string partial_;  // with its length
  Fault fault_{Fault::none};
};

}  // namespace backplane::gateway::proto
