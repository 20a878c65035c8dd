#include "fanout/client.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "fanout/shard.hpp"

namespace backplane::fanout {
namespace {

// Small, so that a flood of short commands makes at most some hundred KiB of replies before
// replies_bytes_max is looked at again.
constexpr std::size_t read_bytes = 4096;
// So many reads a turn, so that one busy client cannot starve the others.
constexpr int reads_a_turn = 16;

/// What is left of a full backlog: room is made for some time, as making it looks at many messages.
constexpr std::size_t after_dropping(std::size_t limit) {
  return limit - limit / 16;
}
constexpr std::size_t after_conflation(std::size_t limit) {
  return limit - limit / 4;
}

}  // namespace

/// The latest of one topic, for a client that wants it at most once an interval. It is a copy: a reference
/// would hold a whole segment for one message and for long. Belongs to its client.
class Client::Throttle final : public TimerWheel::Timer {
 public:
  explicit Throttle(Client& client) : client_(client) {}
  ~Throttle() override {
    if (!held_.empty()) client_.shard_.counters().abandoned.add(1);
  }

  [[nodiscard]] bool of(AudienceId audience) const noexcept { return audience_ == audience; }
  void take(std::string_view bytes, AudienceId audience, std::chrono::milliseconds interval) {
    audience_ = audience;
    interval_ = interval;
    if (!is_set() && client_.offer_timed(bytes)) return wait(client_.shard_.now());
    if (!held_.empty()) client_.shard_.counters().conflated.add(1);
    held_ = bytes;
    if (!is_set()) wait(client_.shard_.now());
  }

 private:
  void on_time(Clock::time_point now) override {
    if (held_.empty()) return;  // nothing came for a whole interval: the next goes out at once
    if (client_.offer_timed(held_)) held_.clear();
    wait(now);
  }
  void wait(Clock::time_point now) { client_.shard_.timers().set(*this, now + interval_); }

  Client& client_;
  AudienceId audience_{};
  std::chrono::milliseconds interval_{};
  std::string held_;
};

Client::Client(ClientId id, std::unique_ptr<Stream> stream, Shard& shard)
    : id_(id), stream_(std::move(stream)), shard_(shard), backlog_(shard.reader(), shard.pool()) {}

Client::~Client() {
  throttles_.reset();
  shard_.counters().abandoned.add(backlog_.event_count());
  if (unsent_) shard_.counters().unsent_clients.subtract(1);
}

void Client::mark_queued() {
  if (!unsent_) {
    unsent_ = true;
    shard_.counters().unsent_clients.add(1);
  }
  if (!blocked_) mark_changed();  // a blocked one is woken by its stream
}

void Client::mark_changed() {
  if (dirty_) return;
  dirty_ = true;
  shard_.mark_dirty(*this);
}

void Client::give(Segment& segment, std::uint32_t first, std::uint32_t last) {
  if (state_ != State::open) return;
  const std::uint64_t end = segment.base() + last;
  if (given_ >= end) return;
  if (given_ > segment.base() + first) first = static_cast<std::uint32_t>(given_ - segment.base());
  given_ = end;
  backlog_.add(segment, first, last);
  shard_.counters().matched.add(last - first);
  if (backlog_.event_bytes() > shard_.limits().backlog_bytes_max) make_room();
  mark_queued();
}

void Client::left(AudienceId audience) {
  std::erase(audiences_, audience);
  if (throttles_) std::erase_if(*throttles_, [=](const auto& each) { return each.second->of(audience); });
}

void Client::give_every(AudienceId audience, std::chrono::milliseconds interval, Segment& segment,
                        std::uint32_t first, std::uint32_t last) {
  if (state_ != State::open) return;
  const std::uint64_t end = segment.base() + last;
  if (given_ >= end) return;
  if (given_ > segment.base() + first) first = static_cast<std::uint32_t>(given_ - segment.base());
  given_ = end;
  shard_.counters().matched.add(last - first);
  if (!throttles_) throttles_ = std::make_unique<std::unordered_map<TopicId, std::unique_ptr<Throttle>>>();
  for (; first < last && state_ == State::open; ++first) {
    std::unique_ptr<Throttle>& throttle = (*throttles_)[segment.topic(first)];
    if (!throttle) throttle = std::make_unique<Throttle>(*this);
    throttle->take(segment.bytes(first, first + 1), audience, interval);
  }
}

/// @returns false where the client does not read what it got before: the message is better kept until later.
bool Client::offer_timed(std::string_view bytes) {
  if (backlog_.reply_bytes() > shard_.limits().replies_bytes_max) return false;
  shard_.counters().delivered.add(1);
  reply(bytes);
  return true;
}

void Client::note_dropped(std::uint64_t count) {
  shard_.counters().dropped.add(count);
  if (backlog_.losses().size() > shard_.limits().loss_ranges_max && open()) {
    handler_->say_goodbye("slow_consumer");
  }
}

void Client::make_room() {
  const std::size_t limit = shard_.limits().backlog_bytes_max;
  switch (policy_) {
    case Policy::gap:
      return note_dropped(backlog_.drop_oldest(after_dropping(limit)));
    case Policy::latest:
      shard_.counters().conflated.add(backlog_.keep_latest(shard_.newest()));
      return note_dropped(backlog_.drop_oldest(after_conflation(limit)));
    case Policy::disconnect:
      shard_.counters().dropped.add(backlog_.drop_oldest(0));
      handler_->say_goodbye("slow_consumer");
  }
}

void Client::evict(std::uint64_t position) {
  const std::uint64_t dropped = backlog_.drop_before(position);
  if (dropped == 0) return;
  note_dropped(dropped);
  if (policy_ == Policy::disconnect && open()) handler_->say_goodbye("slow_consumer");
}

void Client::reply(std::string_view bytes) {
  if (state_ != State::open) return;
  backlog_.add_reply(bytes);
  // Commands are read no more long before this; what is left are notices to somebody who reads nothing.
  if (backlog_.reply_bytes() > shard_.limits().unread_bytes_max) return abort();
  mark_queued();
}

void Client::hold_input(bool hold) noexcept {
  if (held_ == hold) return;
  held_ = hold;
  mark_changed();
}

void Client::end(std::string_view last_words) {
  if (state_ != State::open) return;
  backlog_.add_reply(last_words);
  state_ = State::ending;
  readable_ = true;  // what still comes is read and thrown away
  mark_changed();
}

void Client::abort() noexcept {
  state_ = State::over;
  mark_changed();
}

void Client::expect_input(Clock::time_point until) noexcept {
  shard_.timers().set(*this, until);
}

void Client::on_time(Clock::time_point) {
  if (lingering_) return abort();
  if (open() && !has_received_) handler_->say_goodbye("silent");
}

bool Client::wants_input() const noexcept {
  if (input_ended_ || state_ == State::over) return false;
  if (state_ != State::open) return true;
  return !held_ && backlog_.reply_bytes() <= shard_.limits().replies_bytes_max;
}

void Client::on_readable() {
  readable_ = true;
  read();
}

void Client::read() {
  std::array<char, read_bytes> buffer;
  for (int i = 0; i < reads_a_turn && wants_input(); ++i) {
    const ssize_t got = stream_->read(buffer);
    if (got > 0) {
      has_received_ = true;
      if (open()) handler_->on_bytes({buffer.data(), static_cast<std::size_t>(got)});
    } else if (got == 0) {
      readable_ = false;
      input_ended_ = true;
      if (open()) handler_->on_input_end();
      return mark_changed();
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      readable_ = false;
      return;
    } else if (errno != EINTR) {
      return abort();
    }
  }
  // Nobody says again that there is input: flush() goes on with it.
  if (wants_input()) mark_changed();
}

void Client::on_writable() {
  if (!std::exchange(blocked_, false)) return;
  mark_changed();
}

void Client::write() {
  if (backlog_.loss_is_next()) {
    std::string& report = shard_.report();
    report.clear();
    handler_->report_losses(backlog_.losses(), report);
    backlog_.report_losses(report);
  }
  Gather& gather = shard_.gather();
  gather.clear();
  backlog_.gather(gather);
  if (gather.bytes() == 0) return;
  const ssize_t result = stream_->write(gather.pieces());
  if (result < 0) {
    if (errno == EINTR) return;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return abort();
    blocked_ = true;
    return;
  }
  const auto written = static_cast<std::size_t>(result);
  shard_.note_send(written);
  shard_.counters().delivered.add(backlog_.advance(written));
  blocked_ = written < gather.bytes();
}

void Client::note_progress() {
  if (backlog_.empty()) {
    if (std::exchange(unsent_, false)) shard_.counters().unsent_clients.subtract(1);
    if (state_ == State::ending) {
      stream_->end_output();
      state_ = State::said;
    }
  } else if (!blocked_) {
    mark_changed();  // the others first
  }
}

void Client::flush(Clock::time_point now) {
  dirty_ = false;
  if (over()) return;
  if (!blocked_ && !backlog_.empty()) write();
  if (over()) return;
  note_progress();
  if (readable_) read();
  if (state_ == State::said && input_ended_) abort();
  if (state_ != State::open && !over() && !lingering_) {
    lingering_ = true;
    shard_.timers().set(*this, now + shard_.linger());
  }
}

}  // namespace backplane::fanout
