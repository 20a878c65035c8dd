#include "gateway/session/line_reader.hpp"

namespace backplane::gateway {

std::size_t LineReader::limit(std::string_view line) const noexcept {
  return line.starts_with("PUB ") ? limits_.publish_bytes_max : limits_.line_bytes_max;
}

bool LineReader::give(std::string_view line, const OnLine& on_line) const {
  if (line.ends_with('\r')) line.remove_suffix(1);
  const std::size_t most = limit(line);
  return line.size() <= most ? on_line(line, false) : on_line(line.substr(0, most), true);
}

std::string_view LineReader::read(std::string_view bytes, const OnLine& on_line) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, end);
    const bool whole = end != std::string_view::npos;
    bytes.remove_prefix(whole ? end + 1 : bytes.size());
    if (skipping_) {
      skipping_ = !whole;
      continue;
    }
    bool proceed = true;
    if (whole && partial_.empty()) {
      proceed = give(piece, on_line);
    } else {
      partial_.append(piece);
      if (whole) {
        proceed = give(partial_, on_line);
        partial_.clear();
      } else if (partial_.size() > limit(partial_) + 1) {  // one more: it may be a CR
        skipping_ = true;
        proceed = give(partial_, on_line);
        partial_.clear();
      }
    }
    if (!proceed) return bytes;
  }
  if (partial_.empty() && partial_.capacity() > 4096) partial_ = {};  // releases the memory of a long line
  return {};
}

void LineReader::finish(const OnLine& on_line) {
  if (partial_.empty()) return;
  (void)give(partial_, on_line);
  partial_ = {};
}

}  // namespace backplane::gateway
