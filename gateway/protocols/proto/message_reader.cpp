#include "gateway/protocols/proto/message_reader.hpp"

#include <algorithm>

namespace backplane::gateway::proto {
namespace {

// A length has up to 32 bits, as in protobuf's own parsers.
constexpr std::size_t length_bytes_max = 5;

}  // namespace

/// Whether `bytes` begin with a whole message. If so, `used` is its size with its length; else `used` is the
/// number of bytes that are needed at least.
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

MessageReader::Fault MessageReader::read(std::string_view bytes, const OnMessage& on_message) {
  std::string_view message;
  std::size_t used = 0;
  // An incomplete message is completed with exactly the bytes that it needs: no byte is copied twice.
  while (!partial_.empty() && !bytes.empty() && fault_ == Fault::none) {
    if (split(partial_, message, used) || fault_ != Fault::none) break;
    const std::size_t taken = std::min(used - partial_.size(), bytes.size());
    partial_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (!split(partial_, message, used)) continue;
    const bool proceed = on_message(message);
    partial_.clear();
    if (!proceed) return fault_;
  }
  if (partial_.capacity() > 4096 && partial_.empty()) partial_ = {};  // releases the memory of a long message
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
