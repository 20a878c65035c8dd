#include "broker/cluster_member.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "backplane/v1/system.pb.h"
#include "broker/log/jetstream/jetstream_engine.hpp"
#include "broker/log/log_head.hpp"
#include "broker/log/state_checkpoint.hpp"
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

/// The newest one that the store reaches, so that what the log has after it continues the store. If it
/// reaches none, the newest; if there is none, nothing.
Result<std::optional<std::string>> choose_checkpoint(std::optional<std::string> newest,
                                                     const JetStreamEngine& engine, std::uint64_t stored) {
  if (!newest || stored == 0) return newest;
  const auto position = position_in_checkpoint(*newest);
  if (!position) return tl::unexpected(position.error());
  if (*position <= stored) return newest;
  auto older = engine.older_checkpoint();
  if (!older) return older;
  if (*older) {
    const auto before = position_in_checkpoint(**older);
    if (!before) return tl::unexpected(before.error());
    if (*before <= stored) return older;
  }
  return newest;
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
  // Two checkpoints are kept, and a third one may be due: the log is trimmed long before it is full.
  options_.checkpoint_bytes =
      std::min(options_.checkpoint_bytes, static_cast<std::size_t>(config.jetstream.log_bytes_max) / 8);
  end_ = opened->last_index;
  created_ns_ = opened->created_ns;
  const JetStreamEngine* const engine = opened->engine.get();
  log_.open(std::move(opened->engine), std::move(options));
  state_.stream = opened->head.stream;
  auto store = state_.history->open(state_.stream);
  if (!store) {
    const bool is_about_place =
        store.error().code == ErrorCode::invalid_argument && !config.store_place.empty();
    if (!is_about_place) return tl::unexpected(store.error());
    return fail(store.error().code, fmt::format("{}: {}", config.store_place, store.error().text));
  }
  stored_ = store->position;
  auto checkpoint = choose_checkpoint(std::move(opened->checkpoint), *engine, stored_);
  if (!checkpoint) return tl::unexpected(checkpoint.error());
  if (*checkpoint) {
    if (auto ok = restore(**checkpoint); !ok) return ok;
  }
  if (auto ok = begin_store(std::move(*store)); !ok) return ok;
  log::info("{}: reads the log of {} from index {} to {}", state_.name, opened->head.created_by,
            log_.place().index + 1, end_);
  return {};
}

Result<void> ClusterMember::restore(const std::string& checkpoint) {
  auto place = restore_state(checkpoint, state_, access_, &types_);
  if (!place) return tl::unexpected(place.error());
  log_.restore(std::move(*place));
  return {};
}

/// The state is that of a checkpoint, or of the log's start.
Result<void> ClusterMember::begin_store(HistoryStore::Opened opened) {
  state_.missing_at_start = std::max(state_.position, stored_) -
                            std::min(state_.history->figures().events, std::max(state_.position, stored_));
  if (state_.position > stored_) {
    if (stored_ > 0) {
      log::warning(
          "{}: the store has the events up to position {}, and the log those after {}: what is in between is "
          "not in history",
          state_.name, stored_, state_.position);
    }
    std::vector<HistoryStore::Tail> tails;
    state_.topics.visit([&](const TopicEntry& topic) {
      if (topic.position == 0) return;
      tails.push_back(
          {std::string(topic.name), topic.position, topic.offset, topic.bytes, topic.received_ns});
    });
    return state_.history->begin_after(tails, state_.position);
  }
  if (state_.position == stored_) {
    const std::string differs = compare_with_store(opened);
    if (!differs.empty()) return fail(ErrorCode::invalid_argument, differs);
    return {};
  }
  log::info("{}: the store has the events up to position {}, and the checkpoint of the log those up to {}",
            state_.name, stored_, state_.position);
  pipeline_.continue_after(stored_, [this, store = std::move(opened)] {
    if (const std::string differs = compare_with_store(store); !differs.empty()) {
      throw std::runtime_error(differs);
    }
  });
  return {};
}

/// At the position that the store had when it was opened. @returns what is wrong; empty: nothing is.
std::string ClusterMember::compare_with_store(const HistoryStore::Opened& opened) const {
  const auto differs = [&](std::string_view topic, std::uint64_t expected, std::uint64_t got) {
    return fmt::format(
        "the store does not have the events of the log: topic \"{}\" at position {}: expected offset {}, got "
        "{}; move the store away, and the broker begins with what the log has",
        topic, opened.position, expected, got);
  };
  std::size_t topics = 0;
  state_.topics.visit([&](const TopicEntry& topic) { topics += topic.position > 0 ? 1 : 0; });
  for (const HistoryStore::Tail& tail : opened.tails) {
    const TopicEntry* const topic = state_.topics.find(tail.topic);
    if (topic == nullptr) return differs(tail.topic, 0, tail.offset);
    if (topic->offset != tail.offset || topic->position != tail.position) {
      return differs(tail.topic, topic->offset, tail.offset);
    }
  }
  if (topics == opened.tails.size()) return {};
  return fmt::format(
      "the store does not have the events of the log: expected {} topics at position {}, got {}; move the "
      "store away, and the broker begins with what the log has",
      topics, opened.position, opened.tails.size());
}

// ── every turn ───────────────────────────────────────────────────────────────────────────────────────────

void ClusterMember::turn(Clock::time_point now) {
  if (log_.is_replaced()) throw std::runtime_error(log_.condition().text);
  if (is_ready_) return;
  if (const CommitLog::Condition condition = log_.condition(); condition.failed) {
    throw std::runtime_error(condition.text);
  }
  if (log_.place().index >= end_) {
    if (state_.position < stored_) {
      throw std::runtime_error(fmt::format(
          "the log ends at position {}, and the store has events up to {}: the log has lost events",
          state_.position, stored_));
    }
    log_.join();
  }
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

ClusterReport ClusterMember::report(Clock::time_point now) const {
  const LogEngine::Status engine = log_.engine_status();
  const ReplicatedLog::Counters& counters = log_.counters();
  ClusterReport report{.member = name_,
                       .index = log_.place().index,
                       .first_index = engine.first_index,
                       .last_index = std::max(engine.last_index, log_.place().index),
                       .checkpoint_index = log_.checkpoint_index(),
                       .members = {},
                       .servers = engine.servers,
                       .has_quorum = engine.has_quorum,
                       .fault = fault(),
                       .appends = counters.appends,
                       .retries = counters.retries,
                       .duplicates = counters.duplicates,
                       .fenced = counters.fenced,
                       .holes = counters.holes,
                       .rereads = counters.rereads,
                       .read_bytes = counters.read_bytes};
  for (const auto& [name, seen] : seen_) {
    const auto silent = std::chrono::duration_cast<std::chrono::milliseconds>(now - seen.at);
    const bool is_this = name == name_;
    report.members.push_back(
        {.name = name,
         .is_here = is_this || (seen.is_here && now - seen.at < options_.silence_max),
         .has_left = !seen.is_here,
         .index = is_this ? report.index : log_.applied_by(name),
         .silent_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(silent.count(), 0))});
  }
  return report;
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
