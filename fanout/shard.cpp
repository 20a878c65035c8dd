#include "fanout/shard.hpp"

#include <algorithm>
#include <utility>

namespace backplane::fanout {
namespace {

template <class Id>
std::size_t index(Id id) {
  return static_cast<std::size_t>(id);
}

template <class T>
T& at_grown(std::vector<T>& all, std::size_t at) {
  if (at >= all.size()) all.resize(at + 1);
  return all[at];
}

}  // namespace

Shard::Shard(ShardOptions options, Log& log, std::size_t index_of_it, Clock::time_point now)
    : options_(options), log_(log), reader_(log, index_of_it), timers_(now), now_(now) {}

Shard::~Shard() = default;

Client& Shard::add(ClientId id, std::unique_ptr<Stream> stream) {
  auto client = std::make_unique<Client>(id, std::move(stream), *this);
  Client& result = *client;
  clients_.emplace(id, std::move(client));
  counters_.clients.add(1);
  if (options_.first_byte_timeout.count() > 0) result.expect_input(now_ + options_.first_byte_timeout);
  return result;
}

Client* Shard::find(ClientId id) noexcept {
  const auto found = clients_.find(id);
  return found == clients_.end() ? nullptr : found->second.get();
}

Shard::Audience& Shard::audience(AudienceId id) {
  return at_grown(audiences_, index(id));
}

void Shard::set_route(RouteId route, std::vector<AudienceId> audiences) {
  at_grown(routes_, index(route)) = std::move(audiences);
}

void Shard::set_interval(AudienceId id, std::chrono::milliseconds interval) {
  audience(id).interval = interval;
}

void Shard::join(ClientId id, AudienceId to) {
  Client* const client = find(id);
  if (client == nullptr) return;
  const auto of_it = client->audiences();
  if (std::find(of_it.begin(), of_it.end(), to) != of_it.end()) return;
  audience(to).clients.push_back(client);
  client->joined(to);
}

void Shard::leave(ClientId id, AudienceId from) {
  Client* const client = find(id);
  if (client == nullptr) return;
  std::vector<Client*>& members = audience(from).clients;
  const auto found = std::find(members.begin(), members.end(), client);
  if (found == members.end()) return;
  *found = members.back();
  members.pop_back();
  client->left(from);
}

void Shard::say_goodbye(std::string_view reason) {
  for (const auto& [id, client] : clients_) {
    if (client->open()) client->handler().say_goodbye(reason);
  }
}

void Shard::deliver(Segment& segment, std::uint32_t first, std::uint32_t last) {
  const std::size_t route = index(segment.route(first));
  if (route >= routes_.size()) return;
  // Who is in several of them gets it once, at once if any of them is for that.
  for (const bool timed : {false, true}) {
    for (const AudienceId id : routes_[route]) {
      if (index(id) >= audiences_.size()) continue;
      const Audience& to = audiences_[index(id)];
      if ((to.interval.count() > 0) != timed) continue;
      for (Client* const client : to.clients) {
        if (timed) {
          client->give_every(id, to.interval, segment, first, last);
        } else {
          client->give(segment, first, last);
        }
      }
    }
  }
}

void Shard::catch_up(Clock::time_point now) {
  now_ = now;
  // In this order: commands are put before what follows them is published.
  const std::uint64_t end = log_.published();
  if (!inbox_.empty()) {
    for (Command& command : inbox_.take()) commands_.push_back(std::move(command));
  }
  const auto deliver_run = [this](Segment& segment, std::uint32_t first, std::uint32_t last) {
    deliver(segment, first, last);
  };
  while (!commands_.empty() && commands_.front().at <= end) {
    const Command command = std::move(commands_.front());
    commands_.pop_front();
    reader_.read_until(command.at, deliver_run);
    counters_.commands.add(1);
    command.run(*this);
  }
  reader_.read_until(end, deliver_run);
  if (log_.evicted() != evicted_) evict();
}

void Shard::evict() {
  evicted_ = log_.evicted();
  for (const auto& [id, client] : clients_) client->evict(evicted_);
}

void Shard::let_go(Client& client) {
  while (!client.audiences().empty()) leave(client.id(), client.audiences().back());
  counters_.clients.subtract(1);
  clients_.erase(client.id());
}

void Shard::flush(Clock::time_point now) {
  now_ = now;
  timers_.advance(now);
  std::swap(dirty_, flushing_);
  for (Client* const client : flushing_) {
    const bool over = client->over();
    client->flush(now);
    if (over) let_go(*client);
  }
  flushing_.clear();
}

}  // namespace backplane::fanout
