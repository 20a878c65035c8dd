#include "fanout/shard.hpp"

#include <algorithm>
#include <utility>

namespace backplane::fanout {
namespace {

template <class Id>
std::size_t index(Id id) {
  return static_cast<std::size_t>(id);
}

}  // namespace

Shard::Shard(ShardOptions options, Log& log, std::size_t index_of_it, Clock::time_point now)
    : options_(options),
      log_(log),
      reader_(log, index_of_it),
      timers_(now),
      now_(now),
      catch_up_context_{reader_,
                        routes_,
                        progress_,
                        ledger_,
                        counters_.join_buffers_full,
                        options_.client.backlog_bytes_max} {}

Shard::~Shard() = default;

Client& Shard::add(ClientId id, std::unique_ptr<Stream> stream) {
  Client& result = clients_.try_emplace(id, id, std::move(stream), *this).first->second;
  counters_.clients.add(1);
  result.exempt_from_timeouts(false);
  return result;
}

Client* Shard::find(ClientId id) noexcept {
  const auto found = clients_.find(id);
  return found == clients_.end() ? nullptr : &found->second;
}

Shard::Audience& Shard::audience(AudienceId id) {
  if (index(id) >= audiences_.size()) audiences_.resize(index(id) + 1);
  return audiences_[index(id)];
}

void Shard::set_route(RouteId route, const std::vector<AudienceId>& audiences) {
  routes_.set(route, audiences);
}

void Shard::set_interval(AudienceId id, std::chrono::milliseconds interval) {
  audience(id).interval = std::chrono::duration<std::uint32_t, std::milli>(
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(interval.count(), 0, 0xFFFF'FFFF)));
}

void Shard::advance_low_watermark(StreamId stream, std::uint64_t position) {
  progress_.set_low_watermark(stream, position);
  std::erase_if(past_skipping_, [](Client* client) {
    client->end_skips();
    return !client->has_past_skips();
  });
}

void Shard::swap_members(AudienceId id, Audience& of, std::uint32_t one, std::uint32_t other) {
  if (one == other) return;
  std::swap(of.members[one], of.members[other]);
  of.members[one]->audiences().move(id, one);
  of.members[other]->audiences().move(id, other);
}

void Shard::add_member(AudienceId id, Client& client, bool buffered) {
  Audience& to = audience(id);
  const auto place = static_cast<std::uint32_t>(to.members.size());
  to.members.push_back(&client);
  client.audiences().add(id, place);
  if (!buffered) swap_members(id, to, place, to.active++);
}

void Shard::remove_member(AudienceId id, Audience& from, std::uint32_t place) {
  const auto move_to = [&](std::uint32_t to, std::size_t one) {
    if (to == one) return;
    from.members[to] = from.members[one];
    from.members[to]->audiences().move(id, to);
  };
  // The last active member fills the gap, and the last of all members fills that one's place.
  if (place < from.active) {
    move_to(place, --from.active);
    place = from.active;
  }
  move_to(place, from.members.size() - 1);
  from.members.pop_back();
}

void Shard::join(ClientId id, AudienceId to) {
  Client* const client = find(id);
  if (client == nullptr || client->audiences().find(to) != nullptr) return;
  add_member(to, *client, false);
}

void Shard::join_buffered(ClientId id, AudienceId to) {
  Client* const client = find(id);
  if (client == nullptr) return;
  if (const std::uint32_t* const place = client->audiences().find(to)) {
    Audience& of = audience(to);
    if (*place >= of.active) return;
    swap_members(to, of, *place, --of.active);
  } else {
    add_member(to, *client, true);
  }
  client->begin_buffering(to);
}

void Shard::release_join_buffer(ClientId id, AudienceId from, SkipPtr skip) {
  Client* const client = find(id);
  if (client == nullptr || !client->is_buffering(from)) return;
  const std::uint32_t* const place = client->audiences().find(from);
  if (place == nullptr) return;
  Audience& of = audience(from);
  swap_members(from, of, *place, of.active++);
  client->release_join_buffer(from, of.interval.count() > 0, std::move(skip));
  if (client->has_skips()) skipping_.insert(client);
  if (client->has_past_skips()) past_skipping_.insert(client);
}

void Shard::transfer_skips(ClientId id, AudienceId from, AudienceId to) {
  if (Client* const client = find(id)) client->transfer_skips(from, to);
}

void Shard::leave(ClientId id, AudienceId from) {
  Client* const client = find(id);
  if (client == nullptr) return;
  const std::uint32_t* const place = client->audiences().find(from);
  if (place == nullptr) return;
  remove_member(from, audience(from), *place);
  client->audiences().remove(from);
  client->on_leave(from);
}

void Shard::say_goodbye(std::string_view reason) {
  for (auto& [id, client] : clients_) {
    if (client.open()) client.handler().say_goodbye(reason);
  }
}

/// Prefetches the routes and audiences of messages from `next` on: with many routes, they lie anywhere in
/// memory. An audience is prefetched some messages after its route, so that the route has arrived by then.
void Shard::fetch_ahead(const Segment& segment, std::uint32_t next, std::uint32_t end) const noexcept {
  const auto route_of = [&](std::uint32_t ahead) {
    return next + ahead < end ? routes_.find(segment.route(next + ahead)) : nullptr;
  };
  constexpr std::uint32_t step = 8;
  if (const auto* const route = route_of(2 * step)) __builtin_prefetch(route);
  const auto* const route = route_of(step);
  if (route == nullptr || route->empty() || index((*route)[0]) >= audiences_.size()) return;
  __builtin_prefetch(&audiences_[index((*route)[0])]);
}

void Shard::dispatch(Segment& segment, std::uint32_t first, std::uint32_t last) {
  if (past_skipping_.empty()) {
    (void)note_position(segment, last - 1);
    return dispatch_run(segment, first, last, false);
  }
  for (std::uint32_t next = first; first < last; first = next) {
    const bool late = note_position(segment, next++);
    // Late messages are dispatched one by one, the others together.
    if (!late) {
      while (next < last && !note_position(segment, next)) ++next;
    }
    dispatch_run(segment, first, next, late);
  }
}

void Shard::dispatch_run(Segment& segment, std::uint32_t first, std::uint32_t last, bool late) {
  const Routes::Audiences* const audiences = routes_.find(segment.route(first));
  if (audiences == nullptr) return;
  // A client that is in several of the audiences gets a message once: at once if one of them is active and
  // not throttled, else throttled if one is active, else in the join buffers of all of them.
  enum Pass : std::uint8_t { immediate, throttled, buffered };
  for (const Pass pass : {immediate, throttled, buffered}) {
    for (const AudienceId id : *audiences) {
      if (index(id) >= audiences_.size()) continue;
      const Audience& to = audiences_[index(id)];
      const std::span<Client* const> members(to.members.begin(), to.members.size());
      if (pass == buffered) {
        for (Client* const client : members.subspan(to.active)) client->buffer(id, segment, first, last);
      } else if ((to.interval.count() > 0) == (pass == throttled)) {
        for (Client* const client : members.first(to.active)) {
          if (late && client->skip_late(segment, first)) continue;
          if (pass == throttled) {
            client->enqueue_throttled(id, to.interval, segment, first, last);
          } else {
            client->enqueue(segment, first, last);
          }
        }
      }
    }
  }
}

/// Runs commands up to message `end`, each after the messages before it. @returns whether that was all.
template <class OnRun>
bool Shard::run_commands(std::uint64_t end, const OnRun& on_run) {
  Clock::time_point until{};
  for (std::uint32_t run = 0; !commands_.empty() && commands_.front().at <= end; ++run) {
    if (run == 0) {
      until = Clock::now() + command_time_per_turn;
    } else if (run % commands_per_look == 0 && Clock::now() >= until) {
      return false;
    }
    const Command command = std::move(commands_.front());
    commands_.pop_front();
    reader_.read_until(command.at, on_run);
    counters_.commands.add(1);
    command.run(*this);
  }
  return true;
}

void Shard::read_log(Clock::time_point now) {
  now_ = now;
  // In this order: commands are put before the messages that follow them are published.
  const std::uint64_t end = log_.published();
  if (!inbox_.empty()) {
    for (Command& command : inbox_.take()) commands_.push_back(std::move(command));
  }
  const auto on_run = [this](Segment& segment, std::uint32_t first, std::uint32_t last,
                             std::uint32_t of_segment) {
    fetch_ahead(segment, last, of_segment);
    dispatch(segment, first, last);
  };
  commands_left_ = !run_commands(end, on_run);
  if (!commands_left_) reader_.read_until(end, on_run);
  if (log_.evicted() != evicted_) evict();
  end_skips();
}

/// Skips that the log has passed apply only to late messages from now on, or not at all.
void Shard::end_skips() {
  std::erase_if(skipping_, [this](Client* client) {
    client->end_skips();
    if (client->has_past_skips()) past_skipping_.insert(client);
    return !client->has_skips();
  });
}

void Shard::bound_replies() {
  if (reply_bytes_ <= options_.replies_total_bytes_max) return;
  Client* most = nullptr;
  for (auto& [id, client] : clients_) {
    if (!client.open()) continue;
    if (most == nullptr || client.backlog().reply_bytes() > most->backlog().reply_bytes()) most = &client;
  }
  if (most == nullptr) return;
  counters_.replies_unread.add(1);
  most->handler().say_goodbye("replies_unread");
}

void Shard::evict() {
  evicted_ = log_.evicted();
  for (auto& [id, client] : clients_) client.evict(evicted_);
}

void Shard::remove(Client& client) {
  client.audiences().for_each(
      [this](AudienceId id, std::uint32_t place) { remove_member(id, audience(id), place); });
  skipping_.erase(&client);
  past_skipping_.erase(&client);
  closed_clients_.push_back(client.id());
  counters_.clients.subtract(1);
  clients_.erase(client.id());
}

void Shard::flush(Clock::time_point now) {
  now_ = now;
  timers_.advance(now);
  std::swap(deferred_, flushing_);
  flushing_.insert(flushing_.end(), dirty_.begin(), dirty_.end());
  dirty_.clear();
  begin_input();
  for (Client* const client : flushing_) {
    const bool closed = client->closed();
    client->flush(now);
    if (closed) remove(*client);
  }
  flushing_.clear();
  input_until_ = Clock::time_point::max();
}

}  // namespace backplane::fanout
