#include "fanout/client.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "core/error/error.hpp"
#include "fanout/shard.hpp"

namespace backplane::fanout {
namespace {

// Small: replies_bytes_max is checked between two reads, and the short commands of one read can cause some
// hundred KiB of replies.
constexpr std::size_t read_bytes = 4096;
// At most so many per turn: one busy client cannot starve the others.
constexpr int reads_per_turn = 16;

// For one send: more is rewritten when this is written.
constexpr std::size_t rewritten_bytes = 64u << 10;

// What is left of a full backlog. More is dropped than necessary, because each time many messages are
// visited.
constexpr std::size_t after_dropping(std::size_t limit) {
  return limit - limit / 16;
}
constexpr std::size_t after_conflation(std::size_t limit) {
  return limit - limit / 4;
}

}  // namespace

/// The alarm of the client's handler.
class Client::Alarm final : public TimerWheel::Timer {
 public:
  explicit Alarm(Client& client) : client_(client) {}

 private:
  void on_time(Clock::time_point) override {
    if (client_.open()) client_.handler_->on_alarm();  // which may destroy this
  }
  Client& client_;
};

Client::Client(ClientId id, std::unique_ptr<Stream> stream, Shard& shard)
    : id_(id), stream_(std::move(stream)), shard_(shard), backlog_(shard.reader(), shard.pool()) {}

Client::~Client() {
  const std::uint64_t unwritten = backlog_.message_count() + in_stream_;
  ledger().client_gone += unwritten;
  ledger().pending -= unwritten;
  if (open()) shard_.count_replies(0 - backlog_.reply_bytes());
  if (unsent_) shard_.counters().unsent_clients.subtract(1);
}

DeliveryLedger& Client::ledger() noexcept {
  return shard_.ledger();
}

template <class Change>
auto Client::update_pending(Change&& change) {
  const std::uint64_t before = backlog_.message_count();
  auto result = change();
  ledger().pending += backlog_.message_count() - before;  // the difference may be negative, modulo 2^64
  return result;
}

void Client::mark_queued() {
  if (!unsent_) {
    unsent_ = true;
    shard_.counters().unsent_clients.add(1);
  }
  if (!blocked_) mark_changed();  // if it is blocked, on_writable() does
}

void Client::mark_changed() noexcept {
  if (dirty_) return;
  dirty_ = true;
  shard_.mark_dirty(*this);
}

void Client::defer() {
  if (dirty_) return;
  dirty_ = true;
  shard_.defer(*this);
}

/// Claims those of messages [first, last) that did not reach the client through another audience, and counts
/// them as matched. @returns whether there are any; `first` is then the first of them.
bool Client::claim_new(const Segment& segment, std::uint32_t& first, std::uint32_t last) noexcept {
  if (state_ != State::open) return false;
  const std::uint64_t end = segment.base() + last;
  if (claimed_until_ >= end) return false;
  if (claimed_until_ > segment.base() + first)
    first = static_cast<std::uint32_t>(claimed_until_ - segment.base());
  claimed_until_ = end;
  ledger().matched += last - first;
  return true;
}

void Client::enqueue(Segment& segment, std::uint32_t first, std::uint32_t last) {
  if (!claim_new(segment, first, last)) return;
  if (!catch_up_ || !catch_up_->filters()) return append(segment, first, last);
  enqueue_ready(catch_up_->begin_run(segment, first));
  for (; first < last; ++first) {
    if (catch_up_->admit(segment, first, AudienceId{}, false)) append(segment, first, first + 1);
  }
}

void Client::append(Segment& segment, std::uint32_t first, std::uint32_t last) {
  if (state_ != State::open) {
    ledger().client_gone += last - first;
    return;
  }
  if (throttles_) throttles_->supersede(segment, first, last);
  backlog_.add(segment, first, last);
  ledger().pending += last - first;
  if (backlog_.message_bytes() > shard_.limits().backlog_bytes_max) make_room();
  mark_queued();
}

void Client::enqueue_throttled(AudienceId audience, std::chrono::milliseconds interval, Segment& segment,
                               std::uint32_t first, std::uint32_t last) {
  if (!claim_new(segment, first, last)) return;
  const bool filtered = catch_up_ && catch_up_->filters();
  if (filtered) enqueue_ready(catch_up_->begin_run(segment, first));
  for (; first < last; ++first) {
    if (!filtered || catch_up_->admit(segment, first, audience, true)) {
      throttle(audience, interval, segment, first);
    }
  }
}

void Client::throttle(AudienceId audience, std::chrono::milliseconds interval, Segment& segment,
                      std::uint32_t index) {
  if (state_ != State::open) {
    ++ledger().client_gone;
    return;
  }
  if (!throttles_) {
    throttles_ = std::make_unique<Throttles>(
        shard_.timers(), ledger(), [this](std::string_view message) { return send_throttled(message); });
  }
  throttles_->offer(audience, interval, segment, index, shard_.now());
}

// Catching up.

void Client::begin_buffering(AudienceId audience) {
  if (!open()) return;
  if (!catch_up_) catch_up_ = std::make_unique<CatchUp>(shard_.catch_up_context());
  catch_up_->begin(audience);
}

void Client::buffer(AudienceId audience, Segment& segment, std::uint32_t first, std::uint32_t last) {
  if (!open() || !catch_up_) return;
  enqueue_ready(catch_up_->begin_run(segment, first));
  catch_up_->buffer(audience, segment, first, last, claimed_until_ >= segment.base() + last);
  mark_changed();  // flush() checks the limit, in case no other run follows
}

void Client::release_join_buffer(AudienceId audience, bool throttled, SkipPtr skip) {
  enqueue_ready(catch_up_->release(audience, throttled, std::move(skip)));
  end_catch_up_if_done();
}

void Client::end_skips() {
  if (!catch_up_) return;
  catch_up_->end_skips();
  end_catch_up_if_done();
}

bool Client::skip_late(const Segment& segment, std::uint32_t index) {
  if (!open() || !catch_up_ || !catch_up_->skips_late(segment, index)) return false;
  std::uint32_t first = index;
  // A claimed message does not come through another audience either.
  if (claim_new(segment, first, index + 1)) ++ledger().skipped;
  return true;
}

void Client::on_leave(AudienceId audience) {
  if (throttles_) throttles_->leave(audience);
  if (!catch_up_) return;
  enqueue_ready(catch_up_->leave(audience));
  end_catch_up_if_done();
}

void Client::enqueue_ready(const std::vector<CatchUp::Ready>& ready) {
  for (const CatchUp::Ready& each : ready) {
    if (!each.throttled) {
      append(*each.segment, each.index, each.index + 1);
    } else if (audiences_.find(each.via) != nullptr) {
      throttle(each.via, shard_.interval(each.via), *each.segment, each.index);
    } else {
      ++ledger().unsubscribed;
    }
    shard_.reader().unpin(*each.segment);
  }
  if (catch_up_->has_full()) mark_changed();  // flush() notifies the handler
}

/// Not while the shard dispatches a run, because audiences lose a member.
void Client::notify_full_join_buffers() {
  for (const AudienceId audience : catch_up_->take_full()) {
    shard_.leave(id_, audience);
    if (open()) handler_->on_join_buffer_full(audience);
  }
}

void Client::end_catch_up_if_done() noexcept {
  if (catch_up_ && (!open() || catch_up_->done())) catch_up_.reset();
}

/// @returns false if the client has not read earlier replies. A newer message can then replace this one.
bool Client::send_throttled(std::string_view bytes) {
  if (!open() || backlog_.reply_bytes() > shard_.limits().replies_bytes_max) return false;
  const std::size_t before = backlog_.reply_bytes();
  backlog_.add_copied(bytes);
  ++ledger().pending;
  bound_replies(before);
  return true;
}

void Client::note_dropped(std::uint64_t count) {
  ledger().dropped += count;
  if (backlog_.losses().size() > shard_.limits().loss_ranges_max && open()) {
    handler_->say_goodbye("slow_consumer");
  }
}

void Client::make_room() {
  const std::size_t limit = shard_.limits().backlog_bytes_max;
  switch (policy_) {
    case Policy::gap:
      return note_dropped(update_pending([&] { return backlog_.drop_oldest(after_dropping(limit)); }));
    case Policy::latest:
      ledger().conflated += update_pending([&] { return backlog_.keep_latest(shard_.newest()); });
      return note_dropped(update_pending([&] { return backlog_.drop_oldest(after_conflation(limit)); }));
    case Policy::disconnect:
      ledger().dropped += update_pending([&] { return backlog_.drop_oldest(0); });
      handler_->say_goodbye("slow_consumer");
  }
}

void Client::evict(std::uint64_t position) {
  if (catch_up_) enqueue_ready(catch_up_->discard_before(position));
  const std::uint64_t dropped = update_pending([&] { return backlog_.drop_before(position); });
  if (dropped == 0) return;
  note_dropped(dropped);
  if (policy_ == Policy::disconnect && open()) handler_->say_goodbye("slow_consumer");
}

void Client::reply(std::string_view bytes) {
  if (state_ != State::open) return;
  const std::size_t before = backlog_.reply_bytes();
  backlog_.add_reply(bytes);
  bound_replies(before);
}

void Client::bound_replies(std::size_t before) {
  count_replies(before);
  // No commands are read above replies_bytes_max, which is less. The rest are notices to a client that reads
  // nothing.
  if (backlog_.reply_bytes() > shard_.limits().unread_bytes_max) {
    shard_.counters().replies_unread.add(1);
    return abort();
  }
  mark_queued();
  shard_.bound_replies();
}

/// Only of open clients: one that is being disconnected for its replies does not count any longer.
void Client::count_replies(std::size_t before) noexcept {
  if (state_ == State::open) shard_.count_replies(backlog_.reply_bytes() - before);
}

void Client::pause_input(bool paused) noexcept {
  if (input_paused_ == paused) return;
  input_paused_ = paused;
  mark_changed();
}

void Client::end(std::string_view last_words) {
  if (state_ != State::open) return;
  shard_.count_replies(0 - backlog_.reply_bytes());
  backlog_.add_reply(last_words);
  state_ = State::ending;
  readable_ = true;  // further input is read and discarded
  mark_changed();
}

void Client::switch_handler(std::unique_ptr<Handler> handler, std::string_view rest) {
  CHECK(!switch_, "a handler is switched once per call");
  switch_ = std::make_unique<HandlerSwitch>(HandlerSwitch{std::move(handler_), std::string(rest)});
  handler_ = std::move(handler);
  alarm_.reset();
  mark_changed();
}

void Client::set_alarm(Clock::time_point at) {
  if (!alarm_) alarm_ = std::make_unique<Alarm>(*this);
  shard_.timers().set(*alarm_, at);
}

void Client::cancel_alarm() noexcept {
  alarm_.reset();
}

Client::Clock::time_point Client::now() const noexcept {
  return shard_.now();
}

/// Only while no function of the handler is running.
void Client::finish_switch() {
  while (switch_) {
    const std::unique_ptr<HandlerSwitch> done = std::move(switch_);
    done->before.reset();
    if (open() && !done->rest.empty()) handler_->on_bytes(done->rest);
    // Last: a handler that has seen the end of the input expects no bytes.
    if (open() && input_ended_ && !switch_) handler_->on_input_end();
  }
}

void Client::abort() noexcept {
  if (state_ == State::open) shard_.count_replies(0 - backlog_.reply_bytes());
  state_ = State::closed;
  mark_changed();
}

void Client::notify_when_drained() noexcept {
  notify_drained_ = true;
  mark_changed();
}

void Client::exempt_from_timeouts(bool exempt) noexcept {
  if (lingering_) return;
  cancel();
  const ShardOptions& options = shard_.options();
  active_at_ = shard_.now();
  const auto limit = has_received_ || options.first_byte_timeout.count() == 0 ? options.idle_timeout
                                                                              : options.first_byte_timeout;
  if (!exempt && limit.count() > 0) shard_.timers().set(*this, active_at_ + limit);
}

void Client::on_time(Clock::time_point now) {
  if (lingering_) return abort();
  if (!open()) return;
  if (connecting_) return exempt_from_timeouts(false);
  const ShardOptions& options = shard_.options();
  const bool silent = !has_received_ && options.first_byte_timeout.count() > 0;
  if (!silent && options.idle_timeout.count() == 0) return;
  if (!silent && now < active_at_ + options.idle_timeout) {
    shard_.timers().set(*this, active_at_ + options.idle_timeout);
    return;
  }
  shard_.counters().timed_out.add(1);
  handler_->say_goodbye(silent ? "silent" : "idle");
}

bool Client::wants_input() const noexcept {
  if (input_ended_ || state_ == State::closed) return false;
  if (state_ != State::open || connecting_) return true;
  return !input_paused_ && backlog_.reply_bytes() <= shard_.limits().replies_bytes_max;
}

void Client::on_readable() {
  readable_ = true;
  if (!dirty_) read();  // else flush() does, in its turn
}

void Client::read() {
  finish_switch();  // the new handler first receives what the old one left
  std::array<char, read_bytes> buffer;
  for (int i = 0; i < reads_per_turn && wants_input(); ++i) {
    if (!shard_.may_read()) return i == 0 ? defer() : mark_changed();
    const ssize_t got = stream_->read(buffer);
    if (got > 0) {
      has_received_ = true;
      active_at_ = shard_.now();
      if (open()) handler_->on_bytes({buffer.data(), static_cast<std::size_t>(got)});
      finish_switch();
    } else if (got == 0) {
      readable_ = false;
      input_ended_ = true;
      if (open()) handler_->on_input_end();
      finish_switch();
      return mark_changed();
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      readable_ = false;
      return;
    } else if (errno == EINPROGRESS) {
      blocked_ = true;  // on_writable() makes flush() continue with the input
      return;
    } else if (errno != EINTR) {
      return abort();
    }
  }
  // The stream does not report this input again: flush() continues with it.
  if (wants_input()) mark_changed();
}

void Client::on_writable() {
  if (!std::exchange(blocked_, false)) return;
  mark_changed();
}

void Client::rewrite() {
  const Backlog::Rewritten result = update_pending([&] {
    return backlog_.rewrite(rewritten_bytes, [this](std::string_view message, std::string& out) {
      return handler_->rewrite(message, out);
    });
  });
  ledger().skipped += result.skipped;
  handler_waits_ = result.waiting;
}

void Client::write() {
  const std::size_t replies_before = backlog_.reply_bytes();
  if (backlog_.loss_is_next()) {
    std::string& report = shard_.report();
    report.clear();
    handler_->report_losses(backlog_.losses(), report);
    backlog_.report_losses(report);
    count_replies(replies_before);
  }
  if (rewriting_ && open()) rewrite();
  Gather& gather = shard_.gather();
  gather.clear();
  backlog_.gather(gather);
  if (gather.bytes() == 0 && !stream_keeps_) return;
  const ssize_t result = stream_->write(gather.pieces());
  if (result < 0) {
    if (errno == EINTR) return;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return abort();
    blocked_ = true;
    return;
  }
  const auto written = static_cast<std::size_t>(result);
  shard_.note_send(written);
  active_at_ = shard_.now();
  const std::size_t replies_left = backlog_.reply_bytes();
  note_written(written);
  count_replies(replies_left);
  blocked_ = written < gather.bytes() || stream_keeps_;
}

/// The stream has accepted `bytes` more. Messages of which it keeps a byte are delivered when that is sent.
void Client::note_written(std::size_t bytes) {
  const std::size_t kept = stream_->unsent();
  ledger().delivered += in_stream_;  // sent: a stream accepts nothing before that
  ledger().pending -= in_stream_;
  ledger().delivered += update_pending([&] { return backlog_.advance(bytes - kept); });
  stream_keeps_ = kept > 0;
  in_stream_ = stream_keeps_ ? backlog_.advance(kept) : 0;
}

void Client::note_progress() {
  const bool waits = backlog_.awaits_rewriting() && (handler_waits_ || !open());
  if ((backlog_.empty() || (waits && !open())) && !stream_keeps_) {
    if (std::exchange(unsent_, false)) shard_.counters().unsent_clients.subtract(1);
    if (state_ == State::ending) {
      if (stream_->end_output()) {
        state_ = State::output_ended;
      } else {
        blocked_ = true;
      }
    }
  } else if (!blocked_ && !(waits && !stream_keeps_)) {
    mark_changed();  // continue after the other clients
  }
}

void Client::flush(Clock::time_point now) {
  dirty_ = false;
  finish_switch();
  if (closed()) return;
  if (!blocked_ && (!backlog_.empty() || stream_keeps_)) write();
  if (closed()) return;
  note_progress();
  if (catch_up_) {
    enqueue_ready(catch_up_->discard_over_limit());
    notify_full_join_buffers();
    end_catch_up_if_done();
  }
  if (notify_drained_ && open() && backlog_.reply_bytes() <= shard_.limits().replies_bytes_low) {
    notify_drained_ = false;
    handler_->on_replies_drained();
  }
  if (readable_) read();
  if (state_ == State::output_ended && input_ended_) abort();
  if (state_ != State::open && !closed() && !lingering_) {
    lingering_ = true;
    shard_.timers().set(*this, now + shard_.options().linger);
  }
}

}  // namespace backplane::fanout
