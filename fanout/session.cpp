#include "fanout/session.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace backplane::fanout {
namespace {

// Small, so that a flood of short commands makes at most some hundred KiB of replies before
// replies_bytes_max is looked at again.
constexpr std::size_t read_bytes = 4096;
// So many reads and writes a turn, so that one busy session cannot starve the others.
constexpr int reads_a_turn = 16;
constexpr int writes_a_turn = 16;

}  // namespace

Session::Session(std::uint64_t id, Stream& stream, SessionShare& share)
    : id_(id), stream_(stream), share_(share) {}

Session::~Session() {
  share_.counters.backlog_bytes -= outbox_.event_bytes();
  share_.counters.abandoned += outbox_.event_count();
  if (dirty_) std::erase(share_.dirty, this);
}

void Session::mark_dirty() {
  if (!blocked_) mark_changed();  // a blocked one is woken by its stream
}

void Session::mark_changed() {
  if (dirty_) return;
  dirty_ = true;
  share_.dirty.push_back(this);
}

void Session::send(MessagePtr message) {
  if (state_ != State::open) return;
  const std::size_t before = outbox_.event_bytes();
  outbox_.add_event(std::move(message));
  share_.counters.backlog_bytes += outbox_.event_bytes() - before;
  ++share_.counters.matched;
  make_room();
  mark_dirty();
}

void Session::make_room() {
  const auto full = [&] {
    return outbox_.event_bytes() > share_.limits.backlog_bytes_max ||
           share_.counters.backlog_bytes > share_.limits.backlog_total_bytes_max;
  };
  if (!full()) return;
  if (overflow_ == Overflow::drop_oldest) {
    while (full() && outbox_.event_count() > 0) drop_oldest();
    return;
  }
  while (outbox_.event_count() > 0) drop_oldest();
  connection_->say_goodbye("slow_consumer");
}

void Session::drop_oldest() {
  const MessagePtr dropped = outbox_.drop_oldest();
  share_.counters.backlog_bytes -= dropped->bytes().size();
  ++share_.counters.dropped;
  connection_->on_dropped(*dropped);
}

void Session::reply(std::string_view bytes) {
  if (state_ != State::open) return;
  outbox_.add_reply(bytes);
  // Commands are read no more long before this; what is left are notices to somebody who reads nothing.
  if (outbox_.reply_bytes() > share_.limits.unread_bytes_max) return abort();
  mark_dirty();
}

void Session::hold_input(bool hold) noexcept {
  if (held_ == hold) return;
  held_ = hold;
  mark_changed();
}

void Session::end(std::string_view last_words) {
  if (state_ != State::open) return;
  outbox_.add_reply(last_words);
  state_ = State::ending;
  mark_changed();
}

void Session::abort() noexcept {
  state_ = State::over;
  mark_changed();
}

bool Session::wants_input() const noexcept {
  if (input_ended_ || state_ == State::over) return false;
  if (state_ != State::open) return true;  // read and thrown away
  return !held_ && outbox_.reply_bytes() <= share_.limits.replies_bytes_max;
}

void Session::on_readable() {
  std::array<char, read_bytes> buffer;
  for (int i = 0; i < reads_a_turn && wants_input(); ++i) {
    const ssize_t got = stream_.read(buffer);
    if (got > 0) {
      has_received_ = true;
      if (state_ == State::open) connection_->on_bytes({buffer.data(), static_cast<std::size_t>(got)});
      if (static_cast<std::size_t>(got) < buffer.size()) return;
    } else if (got == 0) {
      input_ended_ = true;
      if (state_ == State::open) connection_->on_input_end();
      mark_changed();
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (errno != EINTR) {
      abort();
    }
  }
}

void Session::on_writable() {
  blocked_ = false;
  mark_dirty();
}

bool Session::write_some() {
  if (outbox_.loss_is_next()) {
    std::string report;
    connection_->report_losses(report);
    outbox_.report_losses(report);
  }
  const std::size_t count = outbox_.gather(share_.scratch);
  if (count == 0) return false;
  const std::span<const iovec> pieces(share_.scratch.data(), count);
  const ssize_t result = stream_.write(pieces);
  if (result < 0) {
    if (errno == EINTR) return true;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      blocked_ = true;
    } else {
      abort();
    }
    return false;
  }
  std::size_t offered = 0;
  for (const iovec& piece : pieces) offered += piece.iov_len;
  const std::size_t before = outbox_.event_bytes();
  share_.counters.delivered += outbox_.advance(static_cast<std::size_t>(result));
  share_.counters.backlog_bytes -= before - outbox_.event_bytes();
  blocked_ = static_cast<std::size_t>(result) < offered;
  return !blocked_;
}

void Session::flush() {
  dirty_ = false;
  if (state_ == State::over) return;
  int left = writes_a_turn;
  while (left > 0 && !blocked_ && write_some()) --left;
  if (state_ == State::over) return;
  if (left == 0) mark_dirty();
  if (state_ == State::ending && outbox_.empty()) {
    stream_.end_output();
    state_ = State::said;
  }
  if (state_ == State::said && input_ended_) state_ = State::over;
}

}  // namespace backplane::fanout
