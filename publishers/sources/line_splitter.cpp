#include "publishers/sources/line_splitter.hpp"

namespace backplane::sources {

void LineSplitter::keep(std::string_view part) {
  pending_any_ = pending_any_ || !part.empty();
  // Allow one byte more: it may be the CR of a line end.
  if (pending_too_long_ || pending_.size() + part.size() > line_bytes_max_ + 1) {
    pending_too_long_ = true;
    pending_.clear();
  } else {
    pending_.append(part);
  }
}

void LineSplitter::finish_line() {
  if (pending_.ends_with('\r')) pending_.pop_back();
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
