#include "links/link.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"
#include "core/wire/stamp.hpp"
#include "follower/order/delivery.hpp"

namespace backplane::links {
namespace {

using namespace std::chrono_literals;

// What may be sent and not confirmed. The source's history has it, too.
constexpr std::size_t in_flight_max = 32'768;
constexpr std::size_t in_flight_bytes_max = 16u << 20;
// Better undecoded for some readers than late for all.
constexpr std::chrono::milliseconds type_time_max = 3s;
// A problem that passes within this time is not reported.
constexpr std::chrono::milliseconds problem_patience = 1s;
// Items per turn: replies and signals are looked at in between.
constexpr int items_per_turn_max = 2048;

constexpr std::uint64_t sequence_of(std::uint64_t position) noexcept {
  return 2 * position;
}
/// Of what is announced as lost before the event at this position.
constexpr std::uint64_t sequence_before(std::uint64_t position) noexcept {
  return 2 * position - 1;
}
/// The position up to which nothing is missing if everything up to `sequence` has arrived.
constexpr std::uint64_t position_of(std::uint64_t sequence) noexcept {
  return sequence / 2;
}

void hash_into(std::uint64_t& hash, std::string_view bytes) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211U;  // FNV-1a
  hash = (hash ^ 0xffU) * 1'099'511'628'211U;  // no byte of UTF-8
}

}  // namespace

LinkFigures& LinkFigures::operator+=(const LinkFigures& other) {
  for (const auto counter :
       {&LinkFigures::passed, &LinkFigures::lost, &LinkFigures::looped, &LinkFigures::unpassable,
        &LinkFigures::too_large, &LinkFigures::refused, &LinkFigures::resumed, &LinkFigures::resets,
        &LinkFigures::gone, &LinkFigures::waiting, &LinkFigures::lag}) {
    this->*counter += other.*counter;
  }
  behind_seconds = std::max(behind_seconds, other.behind_seconds);
  source_connected = source_connected && other.source_connected;
  target_connected = target_connected && other.target_connected;
  return *this;
}

Link::Link(mq::Context& context, const LinkOptions& options, const BrokerEndpoints& from,
           TargetSession::Options target, const LinkState& state, std::set<std::uint32_t>& targets)
    : options_(options),
      from_(from.control),
      to_(target.brokers.front().ingress),
      one_target_(target.brokers.size() == 1),
      source_(context, {from, options.patterns, options.reader, options.poll_max}),
      target_(context, std::move(target)),
      state_(state),
      targets_(targets),
      event_(options.name),
      since_(options.since ? replay_from(*options.since, Clock::now()) : std::nullopt) {}

// ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────

/// Links with other patterns or other topics are other sessions, even if they have the same name: what one
/// has left out, the other may have to pass on.
std::uint64_t Link::session_of(std::uint64_t stream) const {
  std::uint64_t hash = 14'695'981'039'346'656'037U;
  hash_into(hash, fmt::format("{:016x}", stream));
  std::vector<std::string> patterns = options_.patterns;
  std::ranges::sort(patterns);
  for (const std::string& pattern : patterns) hash_into(hash, pattern);
  hash_into(hash, options_.under);
  return hash == 0 ? 1 : hash;
}

void Link::choose_session() {
  if (!source_.broker()) return;
  const std::uint64_t current = source_.broker()->stream;
  const auto known = state_.sources.find(origin(current));
  // What is left of an earlier incarnation comes first.
  start_session(known == state_.sources.end() ? current : known->second.stream);
  if (known == state_.sources.end()) return;
  since_.reset();
  done_ = known->second.position;
  // With other patterns, it is another session.
  if (known->second.session == session_) confirmed_max_ = known->second.sequence;
}

void Link::start_session(std::uint64_t stream) {
  if (targets_.contains(origin(stream))) {
    fatal_ = fmt::format("{} and {} are the same backplane: expected two different ones", from_, to_);
    return;
  }
  stream_ = stream;
  session_ = session_of(stream);
  done_ = confirmed_max_ = last_sequence_ = 0;
  first_item_ = 0;
  topics_.clear();
  in_flight_.clear();
  in_flight_bytes_ = 0;
  source_.stop();
  target_.use_session(session_);
}

/// The target has said what it has of the session: reading begins there.
void Link::resume(Clock::time_point now) {
  run_ = target_.run();
  now_ = now;
  take_confirmed();
  const std::uint64_t confirmed = target_.confirmed();
  const std::uint64_t admitted = position_of(confirmed);
  // A single target that has less than it had has lost it with its disk, or was put back. Another broker of a
  // list never had it: then what another one has confirmed is not sent again.
  const bool has_lost = one_target_ && confirmed > 0 && confirmed < confirmed_max_;
  if (has_lost) {
    log::warning("{}: the target at {} has lost events that it had confirmed: sending them again",
                 options_.name, to_);
    confirmed_max_ = confirmed;
    done_ = admitted;
  }
  const std::uint64_t from = std::max(admitted, done_);
  if (!in_flight_.empty()) ++figures_.resumed;
  // What was not confirmed is read again. By then, history may no longer have it, and it is lost.
  for (; !in_flight_.empty(); in_flight_.pop_back()) {
    const Sent& sent = in_flight_.back();
    *sent.topic = sent.before;
    (sent.lost > 0 ? figures_.lost : figures_.passed) -= std::max<std::uint64_t>(sent.lost, 1);
  }
  in_flight_bytes_ = 0;
  if (has_lost) topics_.clear();
  last_sequence_ = confirmed > 0 ? confirmed : sequence_of(from);
  first_start_ = from == 0 && confirmed == 0;
  first_item_ = 0;
  began_at_ = from;
  blocked_ = false;
  if (!first_start_) since_.reset();
  source_.begin({*stream_, from}, since_);
}

PassedEvent::Place Link::place(std::uint64_t sequence) const {
  return {session_, sequence, last_sequence_};
}

void Link::take_confirmed() {
  const std::uint64_t confirmed = target_.confirmed();
  confirmed_max_ = std::max(confirmed_max_, confirmed);
  while (!in_flight_.empty() && in_flight_.front().sequence <= confirmed) {
    in_flight_bytes_ -= in_flight_.front().bytes;
    in_flight_.pop_front();
  }
  done_ = std::max(done_, dealt_with());
}

/// The position up to which everything is confirmed, or left out.
std::uint64_t Link::dealt_with() const {
  const std::uint64_t read = run_ == target_.run() && source_.is_reading() ? source_.through() : 0;
  return in_flight_.empty() ? read : std::min(read, (in_flight_.front().sequence - 1) / 2);
}

// ── events ───────────────────────────────────────────────────────────────────────────────────────────────

bool Link::has_room() const {
  return in_flight_.size() < in_flight_max && in_flight_bytes_ < in_flight_bytes_max;
}

/// @returns whether there may be more to do now.
bool Link::pump() {
  for (int count = 0; count < items_per_turn_max; ++count) {
    if (!target_.is_ready() || stopping_ || !has_room()) return false;
    const SourceItem* const item = source_.front();
    if (item == nullptr) return false;
    if (first_item_ == 0) first_item_ = item->position;
    if (pass(*item) == Passed::later) return false;
    source_.pop();
  }
  return true;
}

/// Topics of which nothing is known were complete up to this position.
std::uint64_t Link::floor(std::uint64_t position) {
  if (!first_start_) return began_at_;
  // Nothing was promised about what came before.
  const std::uint64_t first = source_.first_available();
  if (since_) return first_item_ - 1;
  return first == 0 ? 0 : position < first ? position : first - 1;
}

Link::Passed Link::pass(const SourceItem& item) {
  if (is_system_topic(item.topic)) return Passed::done;
  if (item.kind == SourceItem::Kind::event) return pass_event(item);
  const Topic* const before = known(item.topic);
  std::uint64_t lost = 0;
  if (before != nullptr) {
    lost = item.last - std::min(item.last, std::max(before->offset, item.first == 0 ? 0 : item.first - 1));
    if (before->looped) lost = 0;  // the target has these events
  } else if (item.kind == SourceItem::Kind::gap) {
    lost = item.first == 0 ? 1 : item.last - item.first + 1;
  } else {
    lost = item.position > floor(item.position) ? 1 : 0;
  }
  const std::uint64_t sequence = sequence_of(item.position);
  if (lost > 0) {
    // If the place is taken, the topic's next event shows the loss by its offset.
    return sequence > last_sequence_ ? announce(item.topic, lost, sequence, item.last) : Passed::done;
  }
  Topic& now = topic(item.topic);
  now.offset = std::max(now.offset, item.last);
  now.known = true;
  return Passed::done;
}

const Link::Topic* Link::known(const std::string& topic) const {
  const auto found = topics_.find(topic);
  return found != topics_.end() && found->second.known ? &found->second : nullptr;
}

Link::Topic& Link::topic(const std::string& name) {
  return topics_[name];
}

bool Link::is_loop() const {
  return std::ranges::any_of(targets_, [&](std::uint32_t each) { return event_.has_passed(each); }) ||
         event_.hops() >= options_.hops_max;
}

std::optional<std::string> Link::target_topic(std::string_view topic) const {
  if (options_.under.empty()) return std::string(topic);
  std::string name = fmt::format("{}.{}", options_.under, topic);
  if (check_topic(name) != TopicFault::none) return std::nullopt;
  return name;
}

Link::Passed Link::pass_event(const SourceItem& item) {
  const bool good = event_.read(wire::without_stamp(std::as_bytes(std::span(item.event))));
  const bool looped = good && is_loop();
  if (announce_before(item, looped) == Passed::later) return Passed::later;
  const auto note = [&] {
    Topic& now = topic(item.topic);
    now = {std::max(now.offset, item.stamp.offset), true, looped};
  };
  const std::uint64_t sequence = sequence_of(item.position);
  if (sequence <= last_sequence_) {  // the target has it
    note();
    return Passed::done;
  }
  const auto name = target_topic(item.topic);
  if (looped || !name || !good) {
    ++(looped ? figures_.looped : figures_.unpassable);
    if (!looped && events_.allow(now_)) {
      log::warning("{}: left out an event on \"{}\": {}", options_.name, item.topic,
                   good ? "its topic is too long at the target" : "its bytes cannot be read");
    }
    note();
    return Passed::done;
  }
  if (!event_.type().empty() && !knows_type(event_.type())) return Passed::later;
  if (!target_.has_types()) return Passed::later;
  const std::string bytes = event_.write(place(sequence), {*stream_, item.position});
  if (target_.event_bytes_max() > 0 && bytes.size() > target_.event_bytes_max()) {
    if (announce(item.topic, 1, sequence, item.stamp.offset) == Passed::later) return Passed::later;
    ++figures_.too_large;
    if (events_.allow(now_)) {
      log::warning("{}: an event on \"{}\" is lost: {} accepts at most {} bytes, got {}", options_.name,
                   item.topic, to_, target_.event_bytes_max(), bytes.size());
    }
    note();
    return Passed::done;
  }
  if (!send(*name, bytes, sequence)) return Passed::later;
  Topic& before = topic(item.topic);
  in_flight_.push_back({sequence, bytes.size(), &before, before, 0});
  in_flight_bytes_ += bytes.size();
  ++figures_.passed;
  note();
  return Passed::done;
}

/// Announces what the topic has lost between the event that was read before and this one.
Link::Passed Link::announce_before(const SourceItem& item, bool looped) {
  const Topic* const before = known(item.topic);
  std::uint64_t lost = 0;
  if (before != nullptr) {
    lost = item.stamp.offset - std::min(item.stamp.offset, before->offset + 1);
  } else if (item.stamp.previous > floor(item.position)) {
    lost = 1;  // at least
  }
  const std::uint64_t sequence = sequence_before(item.position);
  if (lost == 0 || looped || sequence <= last_sequence_) return Passed::done;
  return announce(item.topic, lost, sequence, item.stamp.offset - 1);
}

/// `topic` is the source's, and `last_offset` that of the last lost event there.
Link::Passed Link::announce(const std::string& topic, std::uint64_t lost, std::uint64_t sequence,
                            std::uint64_t last_offset) {
  lost = std::min(lost, wire::lost_max);
  Topic& before = this->topic(topic);
  if (const auto name = target_topic(topic)) {
    const std::string bytes = event_.write_lost(place(sequence), lost);
    if (!send(*name, bytes, sequence)) return Passed::later;
    in_flight_.push_back({sequence, bytes.size(), &before, before, lost});
    in_flight_bytes_ += bytes.size();
    figures_.lost += lost;
    if (events_.allow(now_))
      log::warning("{}: {} events of \"{}\" are lost: announced at the target", options_.name, lost, topic);
  }
  before = {std::max(before.offset, last_offset), true, before.looped};
  return Passed::done;
}

bool Link::send(std::string_view topic, std::string_view event, std::uint64_t sequence) {
  blocked_ = !target_.send(topic, event, sequence);
  if (!blocked_) last_sequence_ = sequence;
  return !blocked_;
}

/// Whether the target's readers can show the type. Otherwise, its definition is fetched from the source.
bool Link::knows_type(std::string_view type) {
  if (types_.contains(type)) return true;
  if (awaited_type_ == type && now_ < type_until_) return false;
  const auto* const pool = google::protobuf::DescriptorPool::generated_pool();
  if (awaited_type_ == type || pool->FindMessageTypeByName(std::string(type)) != nullptr) {
    types_.emplace(type);
    awaited_type_.clear();
    return true;
  }
  awaited_type_ = type;
  type_until_ = now_ + type_time_max;
  source_.types({awaited_type_}, [this, name = awaited_type_](const Result<TypesReply>& reply) {
    if (awaited_type_ == name) awaited_type_.clear();
    types_.insert(name);
    google::protobuf::FileDescriptorSet files;
    if (!reply || !files.ParseFromString(reply->files)) return;
    std::vector<std::string> all;
    for (const auto& file : files.file()) all.push_back(file.SerializeAsString());
    target_.add_types(std::move(all));
  });
  return false;
}

// ── turns ────────────────────────────────────────────────────────────────────────────────────────────────

std::size_t Link::do_work(Clock::time_point now, bool may_pass) {
  now_ = now;
  std::size_t done = source_.do_work(now) + target_.do_work(now);
  if (target_.stream() != 0) targets_.insert(origin(target_.stream()));
  if (!stream_) choose_session();
  if (stream_ && targets_.contains(origin(*stream_)) && fatal_.empty()) {
    fatal_ = fmt::format("{} and {} are the same backplane: expected two different ones", from_, to_);
  }
  if (!fatal_.empty() || !stream_) {
    report(now);
    return done;
  }
  if (target_.is_ready() && may_pass) {
    if (target_.run() != run_ || !source_.is_reading()) resume(now);
    take_confirmed();
    if (const auto next = source_.next_stream(); next && in_flight_.empty()) {
      ++figures_.resets;
      since_.reset();
      log::warning("{}: the broker at {} came back without its history: events at its end may be lost",
                   options_.name, from_);
      start_session(*next);
      return done + 1;
    }
    if (pump()) ++done;
    take_confirmed();
  }
  const bool caught_up = source_.caught_up() && in_flight_.empty() && target_.is_ready();
  if (caught_up) {
    behind_since_.reset();
  } else if (!behind_since_) {
    behind_since_ = now;
  }
  report(now);
  return done;
}

std::vector<int> Link::fds() {
  std::vector<int> fds = source_.fds();
  for (const int fd : target_.fds()) fds.push_back(fd);
  return fds;
}

bool Link::pending() {
  if (source_.pending() || target_.pending()) return true;
  // target_.pending() may have consumed the signal that the queue has room again.
  const std::uint64_t before = last_sequence_;
  if (blocked_) pump();
  return last_sequence_ != before;
}

Link::Clock::time_point Link::next_deadline() const {
  auto deadline = std::min(source_.next_deadline(), target_.next_deadline());
  if (!awaited_type_.empty()) deadline = std::min(deadline, type_until_);
  if (problem_since_) deadline = std::min(deadline, *problem_since_ + problem_patience);
  return deadline;
}

std::optional<LinkState::Source> Link::progress() const {
  if (!stream_) return std::nullopt;
  return LinkState::Source{*stream_, done_, session_, confirmed_max_};
}

LinkFigures Link::figures() const {
  LinkFigures figures = figures_;
  figures.refused = target_.refused();
  figures.gone = source_.gone();
  figures.waiting = in_flight_.size();
  figures.source_connected = source_.broker().has_value();
  figures.target_connected = target_.is_ready();
  const std::uint64_t end = source_.broker_position();
  const bool same = stream_ && source_.broker() && source_.broker()->stream == *stream_;
  figures.lag = behind_since_ && same && end > done_ ? end - done_ : 0;
  if (behind_since_) figures.behind_seconds = std::chrono::duration<double>(now_ - *behind_since_).count();
  return figures;
}

void Link::show(const LinkFigures& figures) {
  const std::uint64_t sent = figures.passed;
  const std::uint64_t waiting = std::min(figures.waiting, sent);
  const auto behind = static_cast<std::uint64_t>(figures.behind_seconds * 1000);
  const std::vector<std::pair<std::string, std::uint64_t>> both{{"link_passed_total", sent},
                                                                {"link_lost_total", figures.lost},
                                                                {"link_refused_total", figures.refused},
                                                                {"link_lag_positions", figures.lag},
                                                                {"link_behind_milliseconds", behind}};
  publishing::Counters at_target{both.begin(), both.end()};
  for (const auto& [name, value] :
       {std::pair{"offered", sent}, {"confirmed", sent - waiting}, {"refused", figures.refused}}) {
    at_target.emplace_back(name, value);
  }
  target_.set_counters(std::move(at_target));
  source_.set_counters(both);
}

std::string Link::problem() const {
  if (!fatal_.empty()) return fatal_;
  if (!source_.broker()) return "waiting for the source: " + source_.problem();
  if (!target_.is_ready() && !target_.problem().empty())
    return "waiting for the target: " + target_.problem();
  if (!source_.problem().empty()) return "reading: " + source_.problem();
  return {};
}

void Link::report(Clock::time_point now) {
  const std::string problem = this->problem();
  if (problem.empty()) {
    problem_since_.reset();
  } else if (!problem_since_) {
    problem_since_ = now;
  }
  const bool connected = source_.broker() && target_.is_ready();
  if (connected && (!was_connected_ || !reported_.empty())) {
    log::info("{}: passing on from {} to {}", options_.name, from_, to_);
    was_connected_ = true;
    reported_.clear();
  } else if (problem_since_ && now - *problem_since_ >= problem_patience && problem != reported_ &&
             problems_.allow(now)) {
    log::warning("{}: {}", options_.name, problem);
    reported_ = problem;
  }
  if (problem_since_ && now - *problem_since_ >= problem_patience) problem_since_ = now;
  if (target_.refused() > reported_refused_ && events_.allow(now)) {
    log::warning("{}: the target refused {} events, most recently: {}", options_.name,
                 target_.refused() - reported_refused_, target_.refused_reason());
    reported_refused_ = target_.refused();
  }
}

}  // namespace backplane::links
