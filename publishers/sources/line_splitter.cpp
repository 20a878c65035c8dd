#include "publishers/sources/line_splitter.hpp"

#include <algorithm>

namespace backplane::sources {
namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

}  // namespace

void LineSplitter::keep(std::string_view part) {
  if (options_.skip_leading_nuls && !pending_any_) {
    part.remove_prefix(std::min(part.find_first_not_of('\0'), part.size()));
  }
  pending_any_ = pending_any_ || !part.empty();
  // Allow some bytes more: a byte order mark, and the CR of a line end.
  if (pending_too_long_ || pending_.size() + part.size() > line_bytes_max_ + byte_order_mark.size() + 1) {
    pending_too_long_ = true;
    pending_.clear();
  } else {
    pending_.append(part);
  }
}

void LineSplitter::finish_line() {
  if (pending_.ends_with('\r')) pending_.pop_back();
  if (options_.at_beginning && number_ == 0 && pending_.starts_with(byte_order_mark)) {
    pending_.erase(0, byte_order_mark.size());
  }
  too_long_ = pending_too_long_ || pending_.size() > line_bytes_max_;
  if (too_long_) pending_.clear();
  text_.swap(pending_);
  pending_.clear();
  pending_too_long_ = false;
  pending_any_ = false;
  ++number_;
  end_ = fed_;
}

bool LineSplitter::take_line() {
  const std::size_t end = bytes_.find('\n');
  if (end == std::string_view::npos) {
    keep(bytes_);
    fed_ += bytes_.size();
    bytes_ = {};
    return false;
  }
  keep(bytes_.substr(0, end));
  bytes_.remove_prefix(end + 1);
  fed_ += end + 1;
  finish_line();
  return true;
}

bool LineSplitter::take_rest() {
  if (!pending_any_) return false;
  finish_line();
  return true;
}

}  // namespace backplane::sources
