#include "gateway/protocols/websocket/frame_reader.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "core/wire/scan.hpp"
#include "gateway/commands/line_grammar.hpp"

namespace backplane::gateway::websocket {
namespace {

constexpr unsigned final_bit = 0x80;
constexpr unsigned reserved_bits = 0x70;
constexpr unsigned opcode_bits = 0x0f;
constexpr unsigned mask_bit = 0x80;
constexpr unsigned length_bits = 0x7f;
constexpr unsigned length_in_2_bytes = 126;
constexpr unsigned length_in_8_bytes = 127;
constexpr std::size_t mask_bytes = 4;

/// XORs `bytes` with the 4-byte mask, beginning at its byte `mask_at`.
void unmask(std::span<char> bytes, const unsigned char* mask, std::size_t mask_at) noexcept {
  std::array<unsigned char, 8> turned;
  for (std::size_t i = 0; i < turned.size(); ++i) turned[i] = mask[(mask_at + i) % mask_bytes];
  std::uint64_t words_mask = 0;
  std::memcpy(&words_mask, turned.data(), sizeof words_mask);
  std::size_t at = 0;
  for (; at + sizeof words_mask <= bytes.size(); at += sizeof words_mask) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    word ^= words_mask;
    std::memcpy(bytes.data() + at, &word, sizeof word);
  }
  for (; at < bytes.size(); ++at) {
    bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ turned[at % mask_bytes]);
  }
}

/// The length of a UTF-8 character that begins with this byte; 1 if no character does.
constexpr std::size_t character_bytes(unsigned char lead) noexcept {
  if (lead < 0xc0) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}

/// The number of bytes at the end of `text` that may be an incomplete character.
std::size_t unfinished_bytes(std::string_view text) noexcept {
  for (std::size_t back = 1; back <= std::min<std::size_t>(text.size(), 3); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0U) == 0x80U) continue;
    return character_bytes(byte) > back ? back : 0;
  }
  return 0;
}

/// Whether a character can begin with these bytes. If any continuation is valid, the lowest or the highest
/// one is.
bool may_begin_character(std::string_view bytes) {
  const std::size_t missing = character_bytes(static_cast<unsigned char>(bytes.front())) - bytes.size();
  const std::string begun(bytes);
  return wire::is_utf8(begun + std::string(missing, '\x80')) ||
         wire::is_utf8(begun + std::string(missing, '\xbf'));
}

}  // namespace

void FrameReader::fail(CloseCode code, std::string_view text) noexcept {
  fault_ = Fault{code, text};
}

std::optional<FrameReader::Fault> FrameReader::read(std::string_view bytes, const OnMessage& on_message) {
  while (!bytes.empty() && !stopped_ && !fault_) {
    if (head_size_ < head_needed_) {
      take_head(bytes);
      if (head_size_ < head_needed_) break;
    }
    if (left_ > 0) take_payload(bytes);
    if (left_ == 0 && !fault_) end_frame(on_message);
  }
  if (fault_ || stopped_) {
    message_ = {};
  } else if (message_.empty() && message_.capacity() > 4096) {
    message_ = {};  // releases the memory of a long message
  }
  return fault_;
}

// ---- a frame's head ----

/// Each byte is checked as it arrives: no payload is read for an invalid frame.
void FrameReader::take_head(std::string_view& bytes) {
  while (head_size_ < head_needed_ && !bytes.empty() && !fault_) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    head_[head_size_++] = byte;
    if (head_size_ == 1) {
      check_first_byte(byte);
    } else if (head_size_ == 2) {
      check_second_byte(byte);
    } else if (head_size_ + mask_bytes == head_needed_) {
      check_length();
    }
  }
  if (fault_) bytes = {};
}

void FrameReader::check_first_byte(unsigned byte) {
  final_ = (byte & final_bit) != 0;
  opcode_ = static_cast<Opcode>(byte & opcode_bits);
  if ((byte & reserved_bits) != 0) {
    return fail(CloseCode::protocol_error, "expected reserved bits of 0, as no extension was negotiated");
  }
  switch (opcode_) {
    case Opcode::continuation:
      if (!in_message_) fail(CloseCode::protocol_error, "expected a new message, got a continuation frame");
      return;
    case Opcode::text:
      if (in_message_) fail(CloseCode::protocol_error, "expected a continuation frame, got a new message");
      return;
    case Opcode::binary:
      return fail(CloseCode::unsupported, "expected text frames, got a binary one");
    case Opcode::close:
    case Opcode::ping:
    case Opcode::pong:
      if (!final_) fail(CloseCode::protocol_error, "expected a control frame in one piece, got a fragment");
      return;
  }
  fail(CloseCode::protocol_error, "expected a known opcode, got a reserved one");
}

void FrameReader::check_second_byte(unsigned byte) {
  if ((byte & mask_bit) == 0)
    return fail(CloseCode::protocol_error, "expected a masked frame, got an unmasked one");
  const unsigned length = byte & length_bits;
  if (in_control() && length > control_bytes_max) {
    return fail(CloseCode::protocol_error, "expected a control frame of at most 125 bytes, got more");
  }
  const std::size_t more = length == length_in_8_bytes ? 8U : length == length_in_2_bytes ? 2U : 0U;
  head_needed_ = static_cast<std::uint8_t>(2 + more + mask_bytes);
  left_ = length;
  if (more == 0) check_limit();
}

void FrameReader::check_length() {
  const std::size_t bytes = head_size_ - 2U;
  left_ = 0;
  for (std::size_t i = 2; i < head_size_; ++i) left_ = left_ << 8 | head_[i];
  if (left_ <= (bytes == 2 ? control_bytes_max : 0xffffU)) {
    return fail(CloseCode::protocol_error, "expected a length in its shortest form, got a longer one");
  }
  if (left_ >> 63 != 0) return fail(CloseCode::protocol_error, "expected a length below 2^63, got more");
  check_limit();
}

// ---- a frame's payload ----

/// The limit of the message, as far as its beginning determines it.
std::size_t FrameReader::limit() const noexcept {
  if (is_publish(message_)) return limits_.publish_bytes_max;
  return may_be_publish(message_) ? std::max(limits_.publish_bytes_max, limits_.line_bytes_max)
                                  : limits_.line_bytes_max;
}

void FrameReader::check_limit() {
  if (in_control()) return;
  const std::size_t most = limit();
  if (message_.size() > most || left_ > most - message_.size()) {
    fail(CloseCode::too_large, "expected a message within the limit, got a longer one");
  }
}

void FrameReader::take_payload(std::string_view& bytes) {
  const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
  std::string& into = in_control() ? control_ : message_;
  const std::size_t before = into.size();
  into.append(bytes.substr(0, taken));
  bytes.remove_prefix(taken);
  left_ -= taken;
  unmask(std::span(into).subspan(before), head_.data() + head_needed_ - mask_bytes, mask_at_);
  mask_at_ = static_cast<std::uint8_t>((mask_at_ + taken) % mask_bytes);
  if (in_control()) return;
  check_limit();
  if (!fault_) check_text();
}

/// Checks the message as far as it has arrived, except an incomplete character at its end.
void FrameReader::check_text() {
  const std::string_view fresh = std::string_view(message_).substr(checked_);
  const std::size_t unfinished = unfinished_bytes(fresh);
  const std::string_view whole = fresh.substr(0, fresh.size() - unfinished);
  const bool valid =
      wire::is_utf8(whole) && (unfinished == 0 || may_begin_character(fresh.substr(whole.size())));
  if (!valid) return fail(CloseCode::not_utf8, "expected UTF-8, got other text");
  checked_ += whole.size();
}

void FrameReader::check_close() {
  if (control_.empty()) return;
  if (control_.size() == 1) return fail(CloseCode::protocol_error, "expected a close code of 2 bytes, got 1");
  const auto byte = [this](std::size_t at) { return static_cast<unsigned char>(control_[at]); };
  if (!may_be_sent(static_cast<std::uint16_t>(byte(0) << 8 | byte(1)))) {
    return fail(CloseCode::protocol_error, "expected a valid close code, got a reserved one");
  }
  if (!wire::is_utf8(std::string_view(control_).substr(2))) {
    fail(CloseCode::not_utf8, "expected a close reason in UTF-8, got other text");
  }
}

void FrameReader::end_frame(const OnMessage& on_message) {
  head_size_ = 0;
  head_needed_ = 2;
  mask_at_ = 0;
  if (in_control()) {
    if (opcode_ == Opcode::close) check_close();
    if (fault_) return;
    stopped_ = !on_message(opcode_, control_) || opcode_ == Opcode::close;
    control_.clear();
    return;
  }
  in_message_ = !final_;
  if (in_message_) return;
  if (checked_ < message_.size())
    return fail(CloseCode::not_utf8, "expected UTF-8, got an incomplete character at the end");
  stopped_ = !on_message(Opcode::text, message_);
  message_.clear();
  checked_ = 0;
}

}  // namespace backplane::gateway::websocket
