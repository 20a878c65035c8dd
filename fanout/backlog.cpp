#include "fanout/backlog.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace backplane::fanout {

bool Gather::add(std::string_view bytes) noexcept {
  if (bytes.empty()) return true;
  if (bytes_ >= bytes_enough) return false;
  const bool copied = bytes.size() < copied_below;
  if (copied) {
    if (bytes.size() > scratch_.size() - used_) return false;
    char* const to = scratch_.data() + used_;
    iovec* const before = count_ > 0 ? &pieces_[count_ - 1] : nullptr;
    const bool extends = before != nullptr && static_cast<char*>(before->iov_base) + before->iov_len == to;
    if (!extends && count_ == pieces_.size()) return false;
    std::memcpy(to, bytes.data(), bytes.size());
    used_ += bytes.size();
    if (extends) {
      before->iov_len += bytes.size();
    } else {
      pieces_[count_++] = {to, bytes.size()};
    }
  } else {
    if (count_ == pieces_.size()) return false;
    // The kernel only reads it. iovec is not const, because it serves reading as well.
    pieces_[count_++] = {const_cast<char*>(bytes.data()), bytes.size()};
  }
  bytes_ += bytes.size();
  return true;
}

Backlog::OwnBytes& Backlog::own() {
  if (!own_) own_ = std::make_unique<OwnBytes>();
  return *own_;
}

void Backlog::add_reply(std::string_view bytes) {
  if (bytes.empty()) return;
  OwnBytes& mine = own();
  mine.bytes += bytes.size();
  mine.replies_added += bytes.size();
  if (!mine.replies.empty() && mine.replies.back().after == pushed_) {
    mine.replies.back().bytes.append(bytes);
  } else {
    mine.replies.push({pushed_, std::string(bytes)});
  }
}

void Backlog::add_copied(std::string_view message) {
  add_reply(message);
  own_->copied.push(own_->replies_added);
}

void Backlog::pop_messages(const Span& span, std::uint32_t count) noexcept {
  message_bytes_ -= span.segment->size(span.first, span.first + count);
  popped_ += count;
  spans_.pop(count);
}

void Backlog::drop_message() {
  const Span& span = spans_.front();
  own().losses.add(span.segment->topic(span.first), span.segment->offset(span.first));
  pop_messages(span, 1);
}

std::uint64_t Backlog::drop_oldest(std::size_t target) {
  std::uint64_t dropped = 0;
  for (; message_bytes_ > target && !spans_.empty(); ++dropped) drop_message();
  return dropped;
}

std::uint64_t Backlog::count_until(std::uint64_t position) const {
  std::uint64_t seen = 0;
  std::uint64_t count = 0;
  spans_.for_each([&](const Span& span) {
    const std::uint64_t first = span.segment->base() + span.first;
    if (first < position) count = seen + std::min<std::uint64_t>(position - first, span.last - span.first);
    seen += span.last - span.first;
    return count == seen || !in_order_;
  });
  return count;
}

std::uint64_t Backlog::drop_before(std::uint64_t position) {
  const std::uint64_t dropped = count_until(position);
  for (std::uint64_t i = 0; i < dropped; ++i) drop_message();
  if (partial_.segment != nullptr && partial_.segment->base() + partial_.index < position) {
    // The rest must still be written, but it is not worth pinning a whole segment. No report is partly
    // written now: no message begins while one is.
    OwnBytes& mine = own();
    mine.first = partial_rest();
    mine.first_written = 0;
    mine.first_messages = 1;
    spans_.reader().unpin(*std::exchange(partial_.segment, nullptr));
  }
  return dropped;
}

std::uint64_t Backlog::keep_latest(TopicTable& newest) {
  newest.clear();
  spans_.for_each([&](const Span& span) {
    for (std::uint32_t i = span.first; i < span.last; ++i) {
      newest.at(span.segment->topic(i), 0) = span.segment->base() + i;
    }
    return true;
  });
  SpanQueue kept(spans_.reader(), spans_.pool());
  std::uint64_t seen = popped_;
  std::uint64_t removed = 0;
  std::size_t reply = 0;
  // Replies keep their place among the remaining messages.
  const auto move_replies = [&] {
    if (!own_) return;
    for (; reply < own_->replies.size() && own_->replies[reply].after <= seen; ++reply) {
      own_->replies[reply].after -= removed;
    }
  };
  spans_.for_each([&](const Span& span) {
    for (std::uint32_t i = span.first; i < span.last; ++i) {
      move_replies();
      ++seen;
      if (newest.at(span.segment->topic(i), 0) == span.segment->base() + i) {
        kept.push(*span.segment, i, i + 1);
      } else {
        ++removed;
        message_bytes_ -= span.segment->size(i, i + 1);
      }
    }
    return true;
  });
  move_replies();
  pushed_ -= removed;
  spans_.swap(kept);
  return removed;
}

void Backlog::clear() noexcept {
  spans_.clear();
  if (partial_.segment != nullptr) spans_.reader().unpin(*std::exchange(partial_.segment, nullptr));
  own_.reset();
  popped_ = pushed_;
  message_bytes_ = 0;
}

bool Backlog::loss_is_next() const noexcept {
  if (!own_ || own_->losses.empty() || partial_.segment != nullptr || !own_->first.empty()) return false;
  if (rewriting_) return true;
  // Nothing leaves spans_ while there is a mark: the mark is at popped_.
  return own_->replies.empty() || own_->replies.front().after >= popped_;
}

std::span<const Loss> Backlog::losses() const noexcept {
  return own_ ? own_->losses.losses() : std::span<const Loss>{};
}

void Backlog::report_losses(std::string_view report) {
  own_->losses.clear();
  own_->first = report;
  own_->first_written = 0;
  own_->bytes += report.size();
  tidy();
}

std::string_view Backlog::partial_rest() const noexcept {
  return partial_.segment->bytes(partial_.index, partial_.index + 1).substr(partial_.written);
}

void Backlog::gather(Gather& out) const {
  if (partial_.segment != nullptr && !out.add(partial_rest())) return;
  if (!own_ || own_->empty()) {
    if (rewriting_) return;
    spans_.for_each([&](const Span& span) { return out.add(span.segment->bytes(span.first, span.last)); });
    return;
  }
  if (rewriting_) return gather_rewritten(out);
  if (!out.add(std::string_view(own_->first).substr(own_->first_written))) return;
  std::uint64_t taken = popped_;
  std::size_t reply = 0;
  const bool marked = !own_->losses.empty();
  const auto add_replies = [&] {
    for (; reply < own_->replies.size(); ++reply) {
      const Reply& next = own_->replies[reply];
      if (next.after > taken || (marked && next.after >= popped_)) return true;
      if (!out.add(std::string_view(next.bytes).substr(reply == 0 ? own_->reply_written : 0))) return false;
    }
    return true;
  };
  if (!add_replies() || marked) return;
  spans_.for_each([&](const Span& span) {
    for (std::uint32_t first = span.first; first < span.last;) {
      std::uint64_t count = span.last - first;
      if (reply < own_->replies.size()) count = std::min(count, own_->replies[reply].after - taken);
      const std::uint32_t last = first + static_cast<std::uint32_t>(count);
      if (!out.add(span.segment->bytes(first, last))) return false;
      taken += count;
      first = last;
      if (!add_replies()) return false;
    }
    return true;
  });
}

/// A reply may be about what is before the messages, such as a topic's value: messages that are rewritten
/// later come after it.
void Backlog::gather_rewritten(Gather& out) const {
  std::uint64_t reached = own_->replies_written;
  bool has_first = false;
  for (std::size_t i = 0;; ++i) {
    if (!has_first && reached >= own_->first_after) {
      if (!out.add(std::string_view(own_->first).substr(own_->first_written))) return;
      has_first = true;
    }
    if (i == own_->replies.size()) return;
    const auto bytes = std::string_view(own_->replies[i].bytes).substr(i == 0 ? own_->reply_written : 0);
    if (!out.add(bytes)) return;
    reached += bytes.size();
  }
}

std::size_t Backlog::advance_partial(std::size_t written, std::uint64_t& ended) {
  const std::size_t rest = partial_rest().size();
  if (written < rest) {
    partial_.written += static_cast<std::uint32_t>(written);
    return written;
  }
  spans_.reader().unpin(*std::exchange(partial_.segment, nullptr));
  ++ended;
  return rest;
}

std::size_t Backlog::advance_first(std::size_t written, std::uint64_t& ended) {
  const std::size_t rest = own_->first.size() - own_->first_written;
  const std::size_t count = std::min(written, rest);
  own_->first_written += count;
  if (own_->first_messages == 0) own_->bytes -= count;
  if (count < rest) return count;
  ended += std::exchange(own_->first_messages, 0U);
  own_->first.clear();
  own_->first_written = 0;
  return count;
}

std::size_t Backlog::advance_reply(std::size_t written, std::uint64_t& ended) {
  const std::size_t rest = own_->replies.front().bytes.size() - own_->reply_written;
  const std::size_t count = std::min(written, rest);
  own_->reply_written += count;
  own_->bytes -= count;
  own_->replies_written += count;
  for (; !own_->copied.empty() && own_->copied.front() <= own_->replies_written; ++ended) own_->copied.pop();
  if (count == rest) {
    own_->replies.pop();
    own_->reply_written = 0;
  }
  return count;
}

std::size_t Backlog::advance_span(std::size_t written, std::uint64_t& ended) {
  const Span span = spans_.front();
  std::uint64_t count = span.last - span.first;
  if (own_ && !own_->replies.empty()) count = std::min(count, own_->replies.front().after - popped_);
  const std::uint32_t last = span.first + static_cast<std::uint32_t>(count);
  const std::size_t size = span.segment->size(span.first, last);
  if (written >= size) {
    ended += count;
    pop_messages(span, last - span.first);
    return size;
  }
  const std::uint32_t whole = span.segment->whole_messages(span.first, last, written);
  const std::size_t begun = written - span.segment->size(span.first, span.first + whole);
  if (begun > 0) {
    spans_.reader().pin(*span.segment);
    partial_ = {span.segment, span.first + whole, static_cast<std::uint32_t>(begun)};
  }
  ended += whole;
  pop_messages(span, whole + (begun > 0 ? 1 : 0));
  return written;
}

std::uint64_t Backlog::advance(std::size_t written) {
  std::uint64_t ended = 0;
  while (written > 0) {
    if (partial_.segment != nullptr) {
      written -= advance_partial(written, ended);
    } else if (own_ && own_->first_is_next()) {
      written -= advance_first(written, ended);
    } else if (own_ && !own_->replies.empty() && (rewriting_ || own_->replies.front().after <= popped_)) {
      written -= advance_reply(written, ended);
    } else {
      written -= advance_span(written, ended);
    }
  }
  tidy();
  return ended;
}

void Backlog::tidy() {
  // An idle client keeps no memory. A client that was slow keeps a little, for the next time.
  constexpr std::size_t kept = 4096;
  if (own_ && own_->empty() && (!own_->losses.has_memory() || own_->first.capacity() > kept)) own_.reset();
}

}  // namespace backplane::fanout
