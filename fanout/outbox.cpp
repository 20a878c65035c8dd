#include "fanout/outbox.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error/error.hpp"

namespace backplane::fanout {
namespace {

iovec view(std::string_view bytes) {
  // writev's own type wants a pointer to what may be changed; it changes nothing.
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

}  // namespace

void Outbox::add_reply(std::string_view bytes) {
  if (bytes.empty()) return;
  reply_bytes_ += bytes.size();
  if (!replies_.empty() && replies_.back().order == last_) {
    replies_.back().bytes.append(bytes);  // nothing came between: one piece is enough
    return;
  }
  replies_.push_back({++last_, std::string(bytes)});
}

void Outbox::add_event(MessagePtr message) {
  if (message->bytes().empty()) return;
  event_bytes_ += message->bytes().size();
  events_.push_back({++last_, std::move(message)});
}

MessagePtr Outbox::drop_oldest() {
  if (events_.empty()) return nullptr;
  MessagePtr dropped = std::move(events_.front().message);
  loss_at_ = events_.front().order;
  events_.pop_front();
  event_bytes_ -= dropped->bytes().size();
  return dropped;
}

bool Outbox::loss_is_next() const noexcept {
  // Events older than the mark are dropped or written, since the oldest are dropped first.
  return loss_at_ != 0 && !has_begun() && (replies_.empty() || replies_.front().order > loss_at_);
}

void Outbox::report_losses(std::string_view report) {
  CHECK(loss_is_next(), "losses are reported where they belong");
  if (!report.empty()) {
    replies_.push_front({loss_at_, std::string(report)});
    reply_bytes_ += report.size();
  }
  loss_at_ = 0;
}

std::string_view Outbox::begun() const noexcept {
  const std::string_view bytes = begun_event_ ? begun_event_->bytes() : std::string_view(begun_reply_);
  return bytes.substr(begun_written_);
}

std::size_t Outbox::gather(std::span<iovec> out) const {
  const Order stop = loss_at_ != 0 ? loss_at_ : std::numeric_limits<Order>::max();
  std::size_t filled = 0;
  if (has_begun() && !out.empty()) out[filled++] = view(begun());
  auto event = events_.begin();
  auto reply = replies_.begin();
  while (filled < out.size()) {
    const bool event_left = event != events_.end() && event->order < stop;
    const bool reply_left = reply != replies_.end() && reply->order < stop;
    if (reply_left && (!event_left || reply->order < event->order)) {
      out[filled++] = view((reply++)->bytes);
    } else if (event_left) {
      out[filled++] = view((event++)->message->bytes());
    } else {
      break;
    }
  }
  return filled;
}

std::size_t Outbox::advance(std::size_t written) {
  std::size_t events_ended = 0;
  if (has_begun()) {
    const std::size_t left = begun().size();
    const bool is_event = begun_event_ != nullptr;
    const std::size_t step = std::min(written, left);
    if (!is_event) reply_bytes_ -= step;
    begun_written_ += step;
    written -= step;
    if (step < left) return 0;
    if (is_event) ++events_ended;
    begun_event_.reset();
    begun_reply_.clear();
    begun_written_ = 0;
  }
  while (written > 0) {
    const bool reply_next =
        !replies_.empty() && (events_.empty() || replies_.front().order < events_.front().order);
    CHECK(reply_next || !events_.empty(), "no more is written than was queued");
    const std::size_t size =
        reply_next ? replies_.front().bytes.size() : events_.front().message->bytes().size();
    const std::size_t step = std::min(written, size);
    written -= step;
    if (reply_next) {
      if (step < size) begun_reply_ = std::move(replies_.front().bytes);
      reply_bytes_ -= step;
      replies_.pop_front();
    } else {
      if (step < size) begun_event_ = std::move(events_.front().message);
      event_bytes_ -= size;
      events_.pop_front();
      if (step == size) ++events_ended;
    }
    if (step < size) begun_written_ = step;
  }
  return events_ended;
}

}  // namespace backplane::fanout
