#include "follower/broker_group.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>

#include "follower/connection/fd_group.hpp"
#include "follower/topics_merge.hpp"

namespace backplane {
namespace {

using Clock = std::chrono::steady_clock;

/// A retained value that waits until every broker has replied.
struct Value {
  std::string event;
  wire::Stamp stamp;
};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

class BrokerGroup::Impl {
 public:
  Impl(mq::Context& context, Options options, ReaderListener& listener)
      : options_(std::move(options)), listener_(listener) {
    if (options_.brokers.empty()) throw std::invalid_argument("brokers: expected at least one, got none");
    for (std::size_t i = 0; i < options_.brokers.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (options_.brokers[j].egress == options_.brokers[i].egress) {
          throw std::invalid_argument(
              fmt::format("brokers: expected each broker once, got {} twice", options_.brokers[i].egress));
        }
      }
      Follower::Options with = options_.follower;
      with.only_broker = options_.brokers.size() == 1;
      members_.push_back(std::make_unique<Member>(*this, context, i, std::move(with)));
      fds_.add(members_.back()->follower.fds());
    }
  }

  // ---- subscriptions ----

  std::uint64_t subscribe(std::string_view prefix) {
    ++prefixes_.try_emplace(std::string(prefix)).first->second;
    ++last_ticket_;
    for (const auto& member : members_) {
      if (member->has_subscribed)
        member->tickets.push_back({member->follower.subscribe(prefix), last_ticket_});
    }
    return last_ticket_;
  }
  void unsubscribe(std::string_view prefix) {
    const auto found = prefixes_.find(prefix);
    if (found == prefixes_.end()) return;
    if (--found->second == 0) prefixes_.erase(found);
    for (const auto& member : members_) {
      if (member->has_subscribed) member->follower.unsubscribe(prefix);
    }
  }

  // ---- requests ----

  std::uint64_t retained(std::string_view pattern) {
    retained_.emplace(++last_request_, Retained{std::string(pattern), {}, {}, {}});
    waiting_.push_back(last_request_);
    return last_request_;
  }
  std::uint64_t replay(std::string_view pattern, const ReplayFrom& from) {
    replays_.emplace(++last_request_, Replay{std::string(pattern), from, {}, 0, {}});
    waiting_.push_back(last_request_);
    return last_request_;
  }
  void replay_more(std::uint64_t request);
  void cancel(std::uint64_t request);
  void topics(std::string_view pattern, std::string_view cursor,
              std::function<void(Result<TopicsPage>)> handler);
  void types(const std::vector<std::string>& names, std::function<void(Result<TypesReply>)> handler);

  // ---- state ----

  [[nodiscard]] StreamPositions live_positions() const { return collect(&Follower::live_positions); }
  [[nodiscard]] StreamPositions low_watermarks() const { return collect(&Follower::low_watermarks); }
  [[nodiscard]] bool is_recovering() const {
    return std::any_of(members_.begin(), members_.end(), [](const auto& member) {
      return !member->is_standby && member->follower.is_recovering();
    });
  }
  [[nodiscard]] bool may_arrive(std::string_view topic, const wire::Stamp& stamp) const {
    return std::any_of(members_.begin(), members_.end(),
                       [&](const auto& member) { return member->follower.may_arrive(topic, stamp); });
  }
  [[nodiscard]] std::size_t broker() const {
    const Member* const member = first_reading();
    return member == nullptr ? 0 : member->place;
  }
  [[nodiscard]] bool connected() const noexcept { return connected_; }
  [[nodiscard]] FollowerStatus status() const;

  // ---- turns ----

  std::size_t do_work(Clock::time_point now) {
    now_ = now;
    std::size_t done = 0;
    for (const auto& member : members_) {
      if (!member->up && !member->down_since) member->down_since = now;
      done += member->follower.do_work(now);
    }
    if (members_.size() > 1) done += assign_streams();
    done += notify();
    done += begin_requests();
    return done;
  }
  [[nodiscard]] std::vector<int> fds() const { return {fds_.fd()}; }
  [[nodiscard]] Clock::time_point next_deadline() const {
    auto earliest = Clock::time_point::max();
    for (const auto& member : members_) {
      earliest = std::min(earliest, member->follower.next_deadline());
      if (is_expected(*member)) {
        earliest = std::min(earliest, member->down_since ? *member->down_since + options_.broker_patience
                                                         : Clock::time_point::min());
      }
    }
    return earliest;
  }
  [[nodiscard]] bool pending() {
    return std::any_of(members_.begin(), members_.end(),
                       [](const auto& member) { return member->follower.pending(); });
  }
  void set_counters(const std::vector<std::pair<std::string, std::uint64_t>>& counters) {
    for (const auto& member : members_) member->follower.set_counters(counters);
  }
  void release() {
    for (const auto& member : members_) member->follower.release();
  }

 private:
  /// One broker: its follower, and what it reports.
  struct Member final : ReaderListener {
    Member(Impl& of, mq::Context& context, std::size_t which, Follower::Options with)
        : group(of),
          place(which),
          follower(context, one(of.options_.brokers[which], std::move(with)), *this) {}

    static Follower::Options one(const BrokerEndpoints& broker, Follower::Options with) {
      with.broker = broker;
      return with;
    }

    void on_event(const Delivery& delivery) override {
      if (reads(delivery.stamp.stream)) group.listener_.on_event(delivery);
    }
    void on_gap(const Gap& gap) override {
      if (!is_standby) group.listener_.on_gap(gap);
    }
    void on_reset(const Reset& reset) override {
      const bool was_standby = is_standby;  // then the stream before goes on at another broker
      if (reads(reset.new_stream) && !was_standby) group.listener_.on_reset(reset);
    }
    void on_live(std::uint64_t ticket) override {
      while (!tickets.empty() && tickets.front().follower <= ticket) {
        confirmed = tickets.front().group;
        tickets.pop_front();
      }
    }
    void on_connection(bool is_up) override {
      up = is_up;
      is_moving = is_moving && !up;
      down_since.reset();
      if (!up) down_since = group.now_;
      if (!up) return;
      for (const StreamPosition& each : follower.live_positions()) static_cast<void>(reads(each.stream));
    }
    /// Whether it is the one that reads this stream, which its broker publishes.
    bool reads(std::uint64_t of_stream) {
      if (stream != of_stream) [[unlikely]] {
        stream = of_stream;
        is_standby = group.is_read_by_another(*this);
      }
      return !is_standby;
    }
    void on_key_problem(const std::string& problem) override { group.listener_.on_key_problem(problem); }
    void on_retained(std::uint64_t request, const Delivery& delivery) override {
      group.take_value(requests.at(request), delivery);
    }
    void on_retained_end(std::uint64_t request, const RetainedEnd& end) override {
      const auto found = requests.extract(request);
      group.end_retained(found.mapped(), *this, end);
    }
    void on_replayed(std::uint64_t request, const Delivery& delivery) override {
      group.listener_.on_replayed(requests.at(request), delivery);
    }
    void on_replayed_gap(std::uint64_t request, const Gap& gap) override {
      group.listener_.on_replayed_gap(requests.at(request), gap);
    }
    void on_replay_slice(std::uint64_t request, const ReplaySlice& slice) override {
      group.take_slice(requests.at(request), slice);
    }

    /// Tickets of one subscription: the follower's, and the group's.
    struct Ticket {
      std::uint64_t follower{};
      std::uint64_t group{};
    };

    Impl& group;
    std::size_t place;  ///< the broker's, in Options::brokers
    bool up{};
    std::optional<Clock::time_point> down_since;
    std::uint64_t stream{};  ///< of its broker; 0: not known yet
    bool is_standby{};       ///< another member reads that stream
    bool is_moving{};        ///< to another broker, which is up as far as is known
    bool has_subscribed{true};
    std::deque<Ticket> tickets;                       ///< of subscriptions that are not active yet
    std::uint64_t confirmed{};                        ///< ticket up to which subscriptions are active
    std::map<std::uint64_t, std::uint64_t> requests;  ///< the follower's numbers → the group's
    Follower follower;
  };

  struct Retained {
    std::string pattern;
    std::map<Member*, std::uint64_t> open;  ///< the follower's numbers of those that have not replied
    std::map<std::string, Value, std::less<>> values;
    RetainedEnd end;
    bool direct{};  ///< only one broker is read: its values are passed on as they come
  };
  struct Replay {
    std::string pattern;
    ReplayFrom from;
    std::vector<std::pair<Member*, std::uint64_t>> parts;  ///< with the follower's number; 0: not begun
    std::size_t current{};                                 ///< part that is being read
    StreamPositions through;
  };

  /// A standby delays nothing: what its broker has, another one has, too.
  [[nodiscard]] bool is_expected(const Member& member) const {
    return !member.up && !member.is_standby &&
           (!member.down_since || now_ < *member.down_since + options_.broker_patience);
  }
  /// Whether a broker is up, and no other is expected within its patience.
  [[nodiscard]] bool is_ready() const {
    bool any = false;
    for (const auto& member : members_) {
      if (is_expected(*member)) return false;
      any = any || (member->up && !member->is_standby);
    }
    return any;
  }
  /// Those that are up and read a stream.
  [[nodiscard]] std::vector<Member*> members_up() const {
    std::vector<Member*> up;
    for (const auto& member : members_) {
      if (member->up && !member->is_standby) up.push_back(member.get());
    }
    std::ranges::sort(up, {}, &Member::place);
    return up;
  }
  /// The first of them; nullptr: there is none.
  [[nodiscard]] const Member* first_reading() const {
    const std::vector<Member*> up = members_up();
    return up.empty() ? nullptr : up.front();
  }
  [[nodiscard]] bool is_read_by_another(const Member& member) const {
    return std::ranges::any_of(members_, [&](const auto& each) {
      return each.get() != &member && !each->is_standby && each->stream == member.stream;
    });
  }
  template <class Get>
  [[nodiscard]] StreamPositions collect(Get get) const {
    StreamPositions all;
    for (const auto& member : members_) {
      if (member->is_standby) continue;
      for (const StreamPosition& each : (member->follower.*get)()) all.push_back(each);
    }
    return all;
  }

  std::size_t assign_streams();
  void set_subscribed(Member& member, bool subscribed);
  void change_places(Member& reader, Member& standby);
  std::size_t notify();
  std::size_t begin_requests();
  void take_value(std::uint64_t request, const Delivery& delivery);
  void end_retained(std::uint64_t request, Member& member, const RetainedEnd& end);
  void begin_part(std::uint64_t request, Replay& replay);
  void take_slice(std::uint64_t request, ReplaySlice slice);
  void give_up_absent();
  void finish_retained(std::uint64_t request);

  Options options_;
  ReaderListener& listener_;
  follower::FdGroup fds_;
  std::vector<std::unique_ptr<Member>> members_;
  Clock::time_point now_{};
  bool connected_{};
  std::map<std::string, std::size_t, std::less<>> prefixes_;  // subscribed to, and how often
  std::uint64_t last_ticket_{};
  std::uint64_t notified_ticket_{};
  std::uint64_t last_request_{};
  std::deque<std::uint64_t> waiting_;  // requests that begin when the group is ready
  std::map<std::uint64_t, Retained> retained_;
  std::map<std::uint64_t, Replay> replays_;
};

// ---- one reader for each stream ----

/// Brokers of a cluster publish the same stream, and it is read at one of them. The others are connected, but
/// not subscribed to anything: they stand by. If the broker that is read goes away, its follower continues at
/// one of these; its own takes the place of the one that is gone, and waits for it.
std::size_t BrokerGroup::Impl::assign_streams() {
  std::size_t done = 0;
  for (const auto& member : members_) {
    if (!member->is_standby || !member->up || is_read_by_another(*member)) continue;
    member->is_standby = false;  // the one that has read it reads another stream now
    ++done;
  }
  for (const auto& member : members_) {
    if (member->has_subscribed == member->is_standby) {
      set_subscribed(*member, !member->is_standby);
      ++done;
    }
  }
  for (const auto& reader : members_) {
    if (reader->up || reader->is_standby || reader->stream == 0) continue;
    const auto standby = std::ranges::find_if(members_, [&](const auto& each) {
      return each->is_standby && each->up && each->stream == reader->stream;
    });
    if (standby == members_.end()) continue;
    change_places(*reader, **standby);
    ++done;
  }
  return done;
}

void BrokerGroup::Impl::set_subscribed(Member& member, bool subscribed) {
  member.has_subscribed = subscribed;
  member.tickets.clear();
  std::uint64_t last = 0;
  for (const auto& [prefix, count] : prefixes_) {
    for (std::size_t i = 0; i < count; ++i) {
      if (subscribed) {
        last = member.follower.subscribe(prefix);
      } else {
        member.follower.unsubscribe(prefix);
      }
    }
  }
  if (last != 0) member.tickets.push_back({last, last_ticket_});
}

void BrokerGroup::Impl::change_places(Member& reader, Member& standby) {
  if ((options_.brokers[reader.place].keys == nullptr) != (options_.brokers[standby.place].keys == nullptr))
    return;
  std::swap(reader.place, standby.place);
  reader.follower.move_to(options_.brokers[reader.place]);
  standby.follower.move_to(options_.brokers[standby.place]);
  standby.up = false;
  reader.is_moving = true;
  reader.down_since = standby.down_since = now_;
}

// ---- connection ----

std::size_t BrokerGroup::Impl::notify() {
  std::size_t done = 0;
  const bool any_up = std::ranges::any_of(members_, [&](const auto& each) {
    return !each->is_standby && (each->up || (each->is_moving && is_expected(*each)));
  });
  if (connected_ && !any_up) {
    connected_ = false;
    listener_.on_connection(false);
    ++done;
  } else if (!connected_ && is_ready()) {
    connected_ = true;
    listener_.on_connection(true);
    ++done;
  }
  if (!connected_) return done;
  // An expected broker still has to confirm; one that is away confirms when it comes back.
  std::uint64_t confirmed = last_ticket_;
  for (const auto& member : members_) {
    if (member->is_standby) continue;
    if (member->up || is_expected(*member)) confirmed = std::min(confirmed, member->confirmed);
  }
  if (confirmed > notified_ticket_) {
    notified_ticket_ = confirmed;
    listener_.on_live(confirmed);
    ++done;
  }
  return done;
}

std::size_t BrokerGroup::Impl::begin_requests() {
  give_up_absent();
  if (waiting_.empty() || !is_ready()) return 0;
  const std::size_t done = waiting_.size();
  for (const std::uint64_t request : std::exchange(waiting_, {})) {
    if (const auto found = retained_.find(request); found != retained_.end()) {
      const std::vector<Member*> up = members_up();
      found->second.direct = up.size() == 1;
      for (Member* const member : up) {
        const std::uint64_t number = member->follower.retained(found->second.pattern);
        member->requests.emplace(number, request);
        found->second.open.emplace(member, number);
      }
    } else if (const auto replay = replays_.find(request); replay != replays_.end()) {
      for (const auto& member : members_) {
        if (member->is_standby) continue;
        if (member->up) {
          replay->second.parts.emplace_back(member.get(), 0);
        } else if (const auto* after = std::get_if<AfterPositions>(&replay->second.from)) {
          // When this broker comes back, its events are read from here.
          member->follower.assume(after->positions);
        }
      }
      begin_part(request, replay->second);
    }
  }
  return done;
}

// ---- retained values ----

void BrokerGroup::Impl::take_value(std::uint64_t request, const Delivery& delivery) {
  Retained& retained = retained_.at(request);
  if (retained.direct) return listener_.on_retained(request, delivery);
  const auto found = retained.values.find(delivery.topic);
  if (found == retained.values.end()) {
    retained.values.emplace(delivery.topic, Value{std::string(text_of(delivery.event)), delivery.stamp});
  } else if (found->second.stamp.received_ns < delivery.stamp.received_ns) {
    found->second = Value{std::string(text_of(delivery.event)), delivery.stamp};
  }
}

void BrokerGroup::Impl::end_retained(std::uint64_t request, Member& member, const RetainedEnd& end) {
  Retained& retained = retained_.at(request);
  retained.open.erase(&member);
  for (const StreamPosition& each : end.as_of) retained.end.as_of.push_back(each);
  if (end.error && !retained.end.error) retained.end.error = end.error;
  retained.end.valid_until = std::min(retained.end.valid_until, end.valid_until);
  if (retained.open.empty()) finish_retained(request);
}

void BrokerGroup::Impl::finish_retained(std::uint64_t request) {
  Retained& retained = retained_.at(request);
  for (const auto& [topic, value] : retained.values) {
    listener_.on_retained(request, Delivery{topic, std::as_bytes(std::span(value.event)), value.stamp});
    if (!retained_.contains(request)) return;  // cancelled meanwhile
  }
  const RetainedEnd total = std::move(retained.end);
  retained_.erase(request);
  listener_.on_retained_end(request, total);
}

// ---- history ----

void BrokerGroup::Impl::begin_part(std::uint64_t request, Replay& replay) {
  auto& [member, number] = replay.parts[replay.current];
  if (number != 0) return member->follower.replay_more(number);
  ReplayFrom from = replay.from;
  if (auto* after = std::get_if<AfterPositions>(&from); after != nullptr && members_.size() > 1) {
    // Of the positions, those of this broker count. A broker without any was not read yet.
    const StreamPositions live = member->follower.live_positions();
    std::erase_if(after->positions, [&](const StreamPosition& each) {
      return std::none_of(live.begin(), live.end(), [&](const StreamPosition& current) {
        return origin(current.stream) == origin(each.stream);
      });
    });
    if (after->positions.empty()) {
      for (const StreamPosition& current : live) after->positions.push_back({current.stream, 0});
    }
  }
  number = member->follower.replay(replay.pattern, from);
  member->requests.emplace(number, request);
}

void BrokerGroup::Impl::take_slice(std::uint64_t request, ReplaySlice slice) {
  const auto found = replays_.find(request);
  if (found == replays_.end()) return;
  Replay& replay = found->second;
  if (slice.error) {
    cancel(request);
    return listener_.on_replay_slice(request, slice);
  }
  for (const StreamPosition& each : slice.through) {
    const auto known = std::find_if(replay.through.begin(), replay.through.end(), [&](const auto& before) {
      return origin(before.stream) == origin(each.stream);
    });
    if (known == replay.through.end()) {
      replay.through.push_back(each);
    } else {
      *known = each;
    }
  }
  slice.through = replay.through;
  if (slice.complete) {
    replay.current = (replay.current + 1) % replay.parts.size();
    slice.complete = replay.current == 0;
  }
  listener_.on_replay_slice(request, slice);
}

void BrokerGroup::Impl::replay_more(std::uint64_t request) {
  if (const auto found = replays_.find(request); found != replays_.end() && !found->second.parts.empty()) {
    begin_part(request, found->second);
  }
}

/// Requests do not wait for a broker that has been away for longer than its patience. One to which no broker
/// has replied begins again; of the others, that broker's part is missing.
void BrokerGroup::Impl::give_up_absent() {
  const auto is_absent = [this](const Member& member) {
    return members_.size() > 1 && !member.up && !is_expected(member);
  };
  std::vector<std::uint64_t> without_reply;
  std::vector<std::uint64_t> ended;
  for (auto& [request, retained] : retained_) {
    const std::size_t before = retained.open.size();
    std::erase_if(retained.open, [&](const auto& each) {
      if (!is_absent(*each.first)) return false;
      each.first->follower.cancel(each.second);
      each.first->requests.erase(each.second);
      return true;
    });
    if (before == 0 || !retained.open.empty()) continue;
    (retained.end.as_of.empty() ? without_reply : ended).push_back(request);
  }
  for (auto& [request, replay] : replays_) {
    if (replay.parts.empty() || !is_absent(*replay.parts[replay.current].first)) continue;
    (replay.through.empty() ? without_reply : ended).push_back(request);
  }
  for (const std::uint64_t request : without_reply) {
    if (const auto found = replays_.find(request); found != replays_.end()) {
      for (const auto& [member, number] : found->second.parts) {
        member->follower.cancel(number);
        member->requests.erase(number);
      }
      found->second.parts.clear();
      found->second.current = 0;
    }
    waiting_.push_back(request);
  }
  for (const std::uint64_t request : ended) {
    if (retained_.contains(request)) {
      finish_retained(request);
    } else if (const auto found = replays_.find(request); found != replays_.end()) {
      ReplaySlice slice;
      slice.through = found->second.through;
      slice.error = Error{ErrorCode::unavailable, "a broker went away while its history was being read"};
      cancel(request);
      listener_.on_replay_slice(request, slice);
    }
  }
}

void BrokerGroup::Impl::cancel(std::uint64_t request) {
  std::erase(waiting_, request);
  if (const auto found = retained_.find(request); found != retained_.end()) {
    for (const auto& [member, number] : found->second.open) {
      member->follower.cancel(number);
      member->requests.erase(number);
    }
    retained_.erase(found);
  }
  if (const auto found = replays_.find(request); found != replays_.end()) {
    for (const auto& [member, number] : found->second.parts) {
      if (number == 0) continue;
      member->follower.cancel(number);
      member->requests.erase(number);
    }
    replays_.erase(found);
  }
}

// ---- topics, types ----

void BrokerGroup::Impl::topics(std::string_view pattern, std::string_view cursor,
                               std::function<void(Result<TopicsPage>)> handler) {
  auto merge = std::make_shared<follower::TopicsMerge>(cursor, members_.size(), std::move(handler));
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (members_[i]->up && !members_[i]->is_standby && merge->wants(i)) open.push_back(i);
  }
  if (open.empty()) open.push_back(0);  // it waits for its broker
  merge->expect(open);
  for (const std::size_t i : open) {
    members_[i]->follower.topics(pattern, merge->cursor(i),
                                 [merge, i](Result<TopicsPage> page) { merge->add(i, std::move(page)); });
  }
}

void BrokerGroup::Impl::types(const std::vector<std::string>& names,
                              std::function<void(Result<TypesReply>)> handler) {
  struct Gathering {
    std::function<void(Result<TypesReply>)> handler;
    std::size_t open{};
    std::size_t replies{};
    TypesReply all;
    std::map<std::string, std::size_t> unknown;  // by name: how many brokers do not know it
    std::optional<Error> error;
  };
  std::vector<Member*> members = members_up();
  if (members.empty()) members.push_back(members_.front().get());  // it waits for its broker
  const auto gathering = std::make_shared<Gathering>();
  gathering->handler = std::move(handler);
  gathering->open = members.size();
  for (Member* const member : members) {
    member->follower.types(names, [gathering](Result<TypesReply> reply) {
      if (reply) {
        ++gathering->replies;
        gathering->all.files += reply->files;  // protobuf merges concatenated messages
        for (const std::string& name : reply->unknown) ++gathering->unknown[name];
      } else if (!gathering->error) {
        gathering->error = reply.error();
      }
      if (--gathering->open > 0) return;
      if (gathering->replies == 0) return gathering->handler(tl::unexpected(*gathering->error));
      for (const auto& [name, count] : gathering->unknown) {
        if (count == gathering->replies) gathering->all.unknown.push_back(name);
      }
      gathering->handler(std::move(gathering->all));
    });
  }
}

// ---- status ----

FollowerStatus BrokerGroup::Impl::status() const {
  const Member* const reading = first_reading();
  const Member* const first = reading == nullptr ? members_.front().get() : reading;
  FollowerStatus sum = first->follower.status();
  sum.connected = connected_;
  sum.broker = reading == nullptr ? 0 : reading->place;
  for (const auto& member : members_) {
    if (member.get() == first) continue;
    const FollowerStatus other = member->follower.status();
    sum += other;
    if (sum.key_problem.empty()) sum.key_problem = other.key_problem;
  }
  return sum;
}

BrokerGroup::BrokerGroup(mq::Context& context, Options options, ReaderListener& listener)
    : impl_(std::make_unique<Impl>(context, std::move(options), listener)) {}
BrokerGroup::~BrokerGroup() = default;

std::uint64_t BrokerGroup::subscribe(std::string_view prefix) {
  return impl_->subscribe(prefix);
}
void BrokerGroup::unsubscribe(std::string_view prefix) {
  impl_->unsubscribe(prefix);
}
std::uint64_t BrokerGroup::retained(std::string_view pattern) {
  return impl_->retained(pattern);
}
std::uint64_t BrokerGroup::replay(std::string_view pattern, const ReplayFrom& from) {
  return impl_->replay(pattern, from);
}
void BrokerGroup::replay_more(std::uint64_t request) {
  impl_->replay_more(request);
}
void BrokerGroup::cancel(std::uint64_t request) {
  impl_->cancel(request);
}
void BrokerGroup::topics(std::string_view pattern, std::string_view cursor,
                         std::function<void(Result<TopicsPage>)> handler) {
  impl_->topics(pattern, cursor, std::move(handler));
}
void BrokerGroup::types(const std::vector<std::string>& names,
                        std::function<void(Result<TypesReply>)> handler) {
  impl_->types(names, std::move(handler));
}
StreamPositions BrokerGroup::live_positions() const {
  return impl_->live_positions();
}
bool BrokerGroup::is_recovering() const {
  return impl_->is_recovering();
}
StreamPositions BrokerGroup::low_watermarks() const {
  return impl_->low_watermarks();
}
bool BrokerGroup::may_arrive(std::string_view topic, const wire::Stamp& stamp) const {
  return impl_->may_arrive(topic, stamp);
}
std::size_t BrokerGroup::broker() const {
  return impl_->broker();
}
void BrokerGroup::set_counters(const std::vector<std::pair<std::string, std::uint64_t>>& counters) {
  impl_->set_counters(counters);
}
std::size_t BrokerGroup::do_work(Clock::time_point now) {
  return impl_->do_work(now);
}
std::vector<int> BrokerGroup::fds() {
  return impl_->fds();
}
Clock::time_point BrokerGroup::next_deadline() const {
  return impl_->next_deadline();
}
bool BrokerGroup::pending() {
  return impl_->pending();
}
bool BrokerGroup::connected() const noexcept {
  return impl_->connected();
}
FollowerStatus BrokerGroup::status() const {
  return impl_->status();
}
void BrokerGroup::release() {
  impl_->release();
}

}  // namespace backplane
