#include "gateway/protocols/proto/message_reader.hpp"

#include <algorithm>

namespace backplane::gateway::proto {
namespace {

// As protobuf's own parsers take it: up to 32 bits.
constexpr std::size_t length_bytes_max = 5;

}  // namespace

/// Whether `bytes` begin with a whole message; `used` is then all of it with its length, else how many
/// bytes are wanted at least.
bool MessageReader::split(std::string_view bytes, std::string_view& message, std::size_t& used) {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < length_bytes_max; ++i) {
    if (i == bytes.size()) {
      used = i + 1;
      return false;
    }
    const auto byte = static_cast<unsigned char>(bytes[i]);
    length |= static_cast<std::uint64_t>(byte & 0x7fU) << (7 * i);
    if (byte > 0x7f) continue;
    if (length > message_bytes_max_) {
      fault_ = Fault::too_long;
      return false;
    }
    used = i + 1 + static_cast<std::size_t>(length);
    if (bytes.size() < used) return false;
    message = bytes.substr(i + 1, static_cast<std::size_t>(length));
    return true;
  }
  fault_ = Fault::bad_length;
  return false;
}

MessageReader::Fault MessageReader::feed(std::string_view bytes, const OnMessage& on_message) {
  std::string_view message;
  std::size_t used = 0;
  // What is held is made whole with no more bytes than it needs, so that none is copied twice.
  while (!partial_.empty() && !bytes.empty() && fault_ == Fault::none) {
    if (split(partial_, message, used) || fault_ != Fault::none) break;
    const std::size_t taken = std::min(used - partial_.size(), bytes.size());
    partial_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (!split(partial_, message, used)) continue;
    const bool go_on = on_message(message);
    partial_.clear();
    if (!go_on) return fault_;
  }
  if (partial_.capacity() > 4096 && partial_.empty()) partial_ = {};  // no reason to keep its room
  while (!bytes.empty() && partial_.empty() && fault_ == Fault::none) {
    if (!split(bytes, message, used)) {
      if (fault_ == Fault::none) partial_ = bytes;
      break;
    }
    bytes.remove_prefix(used);
    if (!on_message(message)) break;
  }
  return fault_;
}

}  // namespace backplane::gateway::proto
