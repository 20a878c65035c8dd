#include "broker/cluster_member.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "backplane/v1/system.pb.h"
#include "broker/log/jetstream/jetstream_engine.hpp"
#include "broker/log/log_head.hpp"
#include "broker/log/state_checkpoint.hpp"
#include "broker/state/memory_history.hpp"
#include "broker/system_events.hpp"
#include "core/log/log.hpp"
#include "core/process/host.hpp"
#include "core/time/duration.hpp"

namespace backplane::broker {
namespace {

// A batch with one event: its header and names, the topic, and the message's id.
constexpr std::int64_t batch_overhead_max = 4096;
// While a broker's own batches do not come back, it does not know who is gone.
constexpr std::chrono::seconds log_stall{2};

JetStreamOptions jetstream_options(const BackplaneConfig& config, const std::string& name) {
  JetStreamOptions options;
  options.servers = config.jetstream.servers;
  options.credentials_file = config.jetstream.credentials;
  options.client_name = fmt::format("backplane {} {}", config.name, name);
  options.replicas = config.jetstream.replicas;
  if (options.replicas == 0) options.replicas = options.servers.size() == 1 ? 1 : 3;
  options.log_bytes_max = config.jetstream.log_bytes_max;
  return options;
}

}  // namespace

ClusterMember::ClusterMember(BackplaneState& state, Access& access, Pipeline& pipeline,
                             Participants& participants, TypeRegistry& types, ReplicatedLog& log,
                             Options options)
    : state_(state),
      access_(access),
      pipeline_(pipeline),
      participants_(participants),
      types_(types),
      log_(log),
      options_(options) {}

// ── opening ──────────────────────────────────────────────────────────────────────────────────────────────

Result<void> ClusterMember::open(const BackplaneConfig& config, const std::string& name,
                                 std::uint64_t new_stream) {
  name_ = name;
  if (name.size() > broker_name_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the name of this broker in the log: expected at most {} bytes, got \"{}\": give "
                            "it an identity (--identity)",
                            broker_name_bytes_max, name));
  }
  const LogHead mine{.backplane = config.name,
                     .log = random_id(),
                     .stream = new_stream,
                     .rules = rules_version,
                     .max_topics = config.max_topics,
                     .max_sessions = config.max_sessions,
                     .max_event_bytes = config.max_event_bytes,
                     .has_policy = config.admission.required(),
                     .created_by = name};
  auto opened = JetStreamEngine::open(jetstream_options(config, name), mine);
  if (!opened) return tl::unexpected(opened.error());
  const std::int64_t event_bytes_max = opened->message_bytes_max - batch_overhead_max;
  if (static_cast<std::int64_t>(config.max_event_bytes) > event_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected at most {}, because max_payload of the nats-server is {}, got {}",
                            config.max_event_place, event_bytes_max, opened->message_bytes_max,
                            config.max_event_bytes));
  }
  ReplicatedLog::Options options;
  options.broker = name;
  options.log = opened->head.log;
  options.batch_bytes_max = std::min(options.batch_bytes_max, static_cast<std::size_t>(event_bytes_max));
  end_ = opened->last_index;
  created_ns_ = opened->created_ns;
  log_.open(std::move(opened->engine), std::move(options));
  state_.stream = opened->head.stream;
  if (auto store = state_.history->open(state_.stream); !store) return tl::unexpected(store.error());
  if (opened->checkpoint) {
    auto place = restore_state(*opened->checkpoint, state_, access_, &types_);
    if (!place) return tl::unexpected(place.error());
    restore(std::move(*place));
  }
  log::warning("{}: log = \"jetstream\" is not complete: readers must use one broker (docs/cluster.md)",
               state_.name);
  log::info("{}: reads the log of {} from index {} to {}", state_.name, opened->head.created_by,
            log_.place().index + 1, end_);
  return {};
}

/// What the events before the checkpoint were is known to other brokers only.
void ClusterMember::restore(LogPlace place) {
  log_.restore(std::move(place));
  state_.missing_at_start = state_.position;
  std::vector<HistoryStore::Tail> tails;
  state_.topics.visit([&](const TopicEntry& topic) {
    if (topic.position == 0) return;
    tails.push_back({std::string(topic.name), topic.position, topic.offset, topic.bytes, topic.received_ns});
  });
  if (auto* const memory = dynamic_cast<MemoryHistory*>(state_.history.get())) memory->begin_after(tails);
}

// ── every turn ───────────────────────────────────────────────────────────────────────────────────────────

void ClusterMember::turn(Clock::time_point now) {
  if (log_.is_replaced()) throw std::runtime_error(log_.condition().text);
  if (is_ready_) return;
  if (const CommitLog::Condition condition = log_.condition(); condition.failed) {
    throw std::runtime_error(condition.text);
  }
  if (log_.place().index >= end_) log_.join();
  if (!log_.has_joined()) return;
  is_ready_ = true;
  watch_members(now);
  begin_checkpoints(now);
  log::info("{}: joined the log as \"{}\" at index {}, position {}", state_.name, name_, log_.place().index,
            state_.position);
}

std::string ClusterMember::fault() const {
  const CommitLog::Condition condition = log_.condition();
  if (!condition.accepts) return condition.text.empty() ? "it accepts no events" : condition.text;
  if (!is_ready_) return fmt::format("reads index {} of {}", log_.place().index, end_);
  return {};
}

std::chrono::nanoseconds ClusterMember::stream_age() const {
  return std::chrono::nanoseconds(std::max<std::int64_t>(unix_now_ns() - created_ns_, 0));
}

void ClusterMember::each_second(Clock::time_point now) {
  if (!is_ready_ || log_.condition().failed) return;
  watch_members(now);
  announce_sources(now);
  write_checkpoint(now);
}

// ── the other brokers ────────────────────────────────────────────────────────────────────────────────────

void ClusterMember::watch_members(Clock::time_point now) {
  for (const auto& [name, member] : log_.place().fences.members()) {
    Seen& seen = seen_[name];
    seen.is_here = !member.has_left;
    if (seen.incarnation == member.incarnation && seen.number == member.number) continue;
    seen.incarnation = member.incarnation;
    seen.number = member.number;
    seen.at = now;
  }
  if (now - seen_[name_].at < log_stall) return;
  for (auto& [name, seen] : seen_) {
    if (name != name_) seen.at = now;
  }
}

bool ClusterMember::is_alive(std::uint64_t incarnation, Clock::time_point now) const {
  return std::ranges::any_of(seen_, [&](const auto& each) {
    return each.second.incarnation == incarnation && each.second.is_here &&
           now - each.second.at < options_.silence_max;
  });
}

/// A broker that has left or was restarted is gone from when this is seen: its publishers have some time to
/// appear at another one.
ClusterMember::Clock::time_point ClusterMember::gone_since(std::uint64_t incarnation,
                                                           Clock::time_point now) const {
  for (const auto& [name, seen] : seen_) {
    if (seen.incarnation == incarnation && seen.is_here) return seen.at;
  }
  return now;
}

/// @param rank this broker's place among them
std::size_t ClusterMember::members_alive(Clock::time_point now, std::size_t& rank) const {
  std::size_t alive = 0;
  for (const auto& [name, seen] : seen_) {
    if (name == name_) rank = alive;
    if (name == name_ || is_alive(seen.incarnation, now)) ++alive;
  }
  return alive;
}

/// Several brokers may announce the same: the first announcement counts. If this broker was stopped for a
/// while, others have announced that its publishers are down.
void ClusterMember::announce_sources(Clock::time_point now) {
  std::erase_if(missing_since_, [&](const auto& each) { return is_alive(each.first, now); });
  for (const auto& [topic, source] : state_.sources) {
    if (!source.up || is_alive(source.owner, now)) continue;
    if (now - missing_since_.try_emplace(source.owner, gone_since(source.owner, now)).first->second <
        options_.silence_max) {
      continue;
    }
    v1::SourceStatus status;
    status.set_name(topic.substr(source_topic_prefix.size()));
    status.set_session(source.session);
    status.set_up(false);
    status.set_reason("silent");
    static_cast<void>(
        pipeline_.publish_source(topic, system_event(state_.name, status, unix_now_ns()),
                                 {.session = source.session, .up = false, .owner = source.owner}));
  }
  participants_.announce_again([&](const std::string& topic, std::uint64_t) {
    const auto known = state_.sources.find(topic);
    return known != state_.sources.end() && !known->second.up;
  });
}

// ── checkpoints ──────────────────────────────────────────────────────────────────────────────────────────

/// In turns: each of n brokers writes every n-th one. They may write more, which does no harm.
void ClusterMember::begin_checkpoints(Clock::time_point now) {
  std::size_t rank = 0;
  static_cast<void>(members_alive(now, rank));
  checkpoint_at_ = now + static_cast<int>(rank + 1) * options_.checkpoint_interval;
  checkpoint_bytes_ = log_.counters().read_bytes + (rank + 1) * options_.checkpoint_bytes;
}

void ClusterMember::write_checkpoint(Clock::time_point now) {
  if (now < checkpoint_at_ && log_.counters().read_bytes < checkpoint_bytes_) return;
  std::size_t rank = 0;
  const std::size_t members = members_alive(now, rank);
  checkpoint_at_ = now + static_cast<int>(members) * options_.checkpoint_interval;
  checkpoint_bytes_ = log_.counters().read_bytes + members * options_.checkpoint_bytes;
  log_.write_checkpoint(encode_state(state_, access_, log_.place(), &types_));
}

}  // namespace backplane::broker
