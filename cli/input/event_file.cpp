#include "cli/input/event_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <unistd.h>

#include "backplane/v1/session.pb.h"

namespace backplane::cli {
namespace {

constexpr std::size_t piece_bytes = 256u << 10;
/// The largest event limit that a broker can be configured with, and the message around the event.
constexpr std::uint64_t message_bytes_max = (256u << 20) + 4096;

}  // namespace

EventFileReader::EventFileReader(int fd, std::string name)
    : fd_(fd), name_(std::move(name)), message_(std::make_unique<v1::ServerMessage>()) {}
EventFileReader::~EventFileReader() = default;

tl::unexpected<Error> EventFileReader::wrong(std::string_view text) const {
  return fail(ErrorCode::invalid_argument, fmt::format("{}: byte {}: {}", name_, place_ + taken_, text));
}

Result<bool> EventFileReader::fill(std::size_t bytes) {
  while (buffer_.size() - taken_ < bytes) {
    if (taken_ > 0) {
      buffer_.erase(0, taken_);
      place_ += taken_;
      taken_ = 0;
    }
    const std::size_t before = buffer_.size();
    buffer_.resize(before + std::max(piece_bytes, bytes - before));
    const ssize_t got = ::read(fd_, buffer_.data() + before, buffer_.size() - before);
    buffer_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) return false;
    if (got < 0 && errno != EINTR) return wrong(std::strerror(errno));
  }
  return true;
}

Result<const v1::ServerMessage*> EventFileReader::next() {
  std::uint64_t length = 0;
  std::size_t digits = 0;
  constexpr std::size_t digits_max = 5;
  for (bool more = true; more; ++digits) {
    const auto there = fill(digits + 1);
    if (!there) return tl::unexpected(there.error());
    if (!*there && digits == 0) return nullptr;
    if (!*there) return wrong("the file ends within a length");
    if (digits == digits_max) return wrong("expected the length of a message: is this an event file?");
    const auto byte = static_cast<unsigned char>(buffer_[taken_ + digits]);
    length |= static_cast<std::uint64_t>(byte & 0x7fU) << (7 * digits);
    more = (byte & 0x80U) != 0;
  }
  if (length > message_bytes_max) {
    return wrong(fmt::format("expected a message of at most {} bytes, got {}: is this an event file?",
                             message_bytes_max, length));
  }
  const auto there = fill(digits + length);
  if (!there) return tl::unexpected(there.error());
  if (!*there) {
    return wrong(fmt::format("the file ends within a message: expected {} bytes, got {}", length,
                             buffer_.size() - taken_ - digits));
  }
  if (!message_->ParseFromArray(buffer_.data() + taken_ + digits, static_cast<int>(length)) ||
      message_->message_case() == v1::ServerMessage::MESSAGE_NOT_SET) {
    return wrong("expected a ServerMessage, got other bytes: is this an event file?");
  }
  taken_ += digits + length;
  return message_.get();
}

}  // namespace backplane::cli
