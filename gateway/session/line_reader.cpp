#include "gateway/session/line_reader.hpp"

#include <algorithm>

#include "gateway/commands/line_grammar.hpp"

namespace backplane::gateway {
namespace {

bool may_follow_cr(char c) noexcept {
  return c == '\n' || c == '\0';
}

/// The position of the first LF, CR or IAC.
std::size_t end_of_run(std::string_view bytes) noexcept {
  // Three fast searches: the last two are limited to what the one before them found.
  bytes = bytes.substr(0, bytes.find('\n'));
  bytes = bytes.substr(0, bytes.find('\r'));
  return std::min(bytes.find(TelnetCommands::iac), bytes.size());
}

}  // namespace

std::size_t LineReader::limit(std::string_view line) const noexcept {
  return is_publish(line) ? limits_.publish_bytes_max : limits_.line_bytes_max;
}

bool LineReader::give(std::string_view line, const OnLine& on_line) const {
  const std::size_t most = limit(line);
  return line.size() <= most ? on_line(line, false) : on_line(line.substr(0, most), true);
}

/// Adds bytes to the line. `ends`: the line's end follows them. @returns whether to continue.
bool LineReader::add(std::string_view run, bool ends, const OnLine& on_line) {
  if (skipping_) {
    skipping_ = !ends;
    return true;
  }
  if (ends && partial_.empty()) return give(run, on_line);
  partial_.append(run);
  const bool too_long = partial_.size() > limit(partial_);
  if (!ends && !too_long) return true;
  skipping_ = !ends;
  const bool proceed = give(partial_, on_line);
  partial_.clear();
  return proceed;
}

std::string_view LineReader::read(std::string_view bytes, const OnLine& on_line) {
  while (!bytes.empty()) {
    if (telnet_.inside()) {
      if (!telnet_.take(bytes)) continue;
      after_cr_ = false;
      if (!add(std::string_view(&TelnetCommands::iac, 1), false, on_line)) return bytes;
      continue;
    }
    // A telnet command may come between CR and LF.
    if (after_cr_ && bytes.front() != TelnetCommands::iac) {
      bytes = rest_of_line_end(bytes);
      continue;
    }
    const std::size_t end = end_of_run(bytes);
    const std::string_view run = bytes.substr(0, end);
    const char stop = end < bytes.size() ? bytes[end] : '\0';
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    if (stop == TelnetCommands::iac) telnet_.begin();
    const bool ends = stop == '\n' || stop == '\r';
    if (ends) after_cr_ = stop == '\r';
    if (!add(run, ends, on_line)) return rest_of_line_end(bytes);
  }
  if (partial_.empty() && partial_.capacity() > 4096) partial_ = {};  // releases the memory of a long line
  return {};
}

std::string_view LineReader::rest_of_line_end(std::string_view bytes) noexcept {
  if (!after_cr_ || bytes.empty()) return bytes;
  after_cr_ = false;
  if (may_follow_cr(bytes.front())) bytes.remove_prefix(1);
  return bytes;
}

void LineReader::finish(const OnLine& on_line) {
  if (partial_.empty()) return;
  (void)give(partial_, on_line);
  partial_ = {};
}

}  // namespace backplane::gateway
