#include "core/zmtp/message_reader.hpp"

#include <algorithm>

#include "core/zmtp/big_endian.hpp"
#include "core/zmtp/frame.hpp"

namespace backplane::zmtp {
namespace {

// What a reader without an incomplete message keeps for the next one.
constexpr std::size_t kept_bytes_max = 16u << 10;

}  // namespace

/// Whether a frame with this head is accepted. Sets the fault if not.
bool MessageReader::check_frame(unsigned flags, std::uint64_t size) {
  const bool command = (flags & flag::command) != 0;
  const bool more = (flags & flag::more) != 0;
  if (flags > (flag::more | flag::long_size | flag::command) || (command && (more || !with_commands_))) {
    fault_ = Fault::bad_frame;
  } else if (command) {
    if (size > limits_.command_bytes_max) fault_ = Fault::command_too_long;
  } else if (size > limits_.frame_bytes_max) {
    fault_ = Fault::frame_too_long;
  } else if (size > limits_.message_bytes_max - body_bytes_) {
    fault_ = Fault::message_too_long;
  } else if (frames_.size() >= limits_.frames_max) {
    fault_ = Fault::too_many_frames;
  }
  return fault_ == Fault::none;
}

/// Finds the end of the next command, or of the message.
/// @param bytes from the message's beginning
MessageReader::Found MessageReader::scan(std::string_view bytes) {
  for (;;) {
    const std::string_view rest = bytes.substr(at_);
    needed_ = at_ + 2;
    if (rest.size() < 2) return Found::incomplete;
    const auto flags = static_cast<unsigned char>(rest[0]);
    std::size_t head = 2;
    std::uint64_t size = static_cast<unsigned char>(rest[1]);
    if ((flags & flag::long_size) != 0) {
      head = 9;
      needed_ = at_ + head;
      if (rest.size() < head) return Found::incomplete;
      size = load_big_endian<std::uint64_t>(rest.substr(1));
    }
    if (!check_frame(flags, size)) return Found::fault;
    const Frame frame{at_ + head, static_cast<std::size_t>(size)};
    needed_ = frame.at + frame.size;
    if (bytes.size() < needed_) return Found::incomplete;
    if ((flags & flag::command) != 0) {
      command_ = frame;
      return Found::command;
    }
    frames_.push_back(frame);
    body_bytes_ += frame.size;
    at_ = needed_;
    if ((flags & flag::more) == 0) return Found::message;
  }
}

/// @param bytes the message
Fault MessageReader::give_message(std::string_view bytes, Sink& sink) {
  views_.clear();
  for (const Frame& frame : frames_) views_.push_back(bytes.substr(frame.at, frame.size));
  frames_.clear();
  body_bytes_ = at_ = 0;
  return sink.on_message(views_);
}

/// Reads what `bytes` contain completely. Keeps the rest.
void MessageReader::read_whole(std::string_view& bytes, Sink& sink) {
  while (!bytes.empty()) {
    switch (scan(bytes)) {
      case Found::fault:
        return;
      case Found::incomplete:
        partial_ = bytes;
        bytes = {};
        return;
      case Found::command:
        fault_ = sink.on_command(bytes.substr(command_.at, command_.size));
        if (fault_ != Fault::none) return;
        if (frames_.empty()) {
          bytes.remove_prefix(needed_);
          at_ = 0;
        } else {
          at_ = needed_;  // its bytes stay between the frames
        }
        break;
      case Found::message: {
        const std::string_view message = bytes.substr(0, at_);
        bytes.remove_prefix(at_);
        fault_ = give_message(message, sink);
        if (fault_ != Fault::none) return;
        break;
      }
    }
  }
}

/// Completes what is incomplete, with exactly the bytes that it needs: none is copied twice.
void MessageReader::complete(std::string_view& bytes, Sink& sink) {
  const std::size_t taken = std::min(needed_ - partial_.size(), bytes.size());
  partial_.append(bytes.substr(0, taken));
  bytes.remove_prefix(taken);
  if (partial_.size() < needed_) return;
  switch (scan(partial_)) {
    case Found::fault:
    case Found::incomplete:
      return;
    case Found::command:
      fault_ = sink.on_command(std::string_view(partial_).substr(command_.at, command_.size));
      partial_.resize(at_);
      needed_ = at_ + 2;
      break;
    case Found::message:
      fault_ = give_message(partial_, sink);
      partial_.clear();
      break;
  }
  if (partial_.empty() && partial_.capacity() > kept_bytes_max) partial_ = {};
}

Fault MessageReader::read(std::string_view bytes, Sink& sink) {
  while (!bytes.empty() && fault_ == Fault::none) {
    if (partial_.empty()) {
      read_whole(bytes, sink);
    } else {
      complete(bytes, sink);
    }
  }
  return fault_;
}

}  // namespace backplane::zmtp
