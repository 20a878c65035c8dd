#pragma once
// What a broker does beside applying the log that several brokers share (docs/decisions/0030-commit-log.md).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "broker/access/access.hpp"
#include "broker/config.hpp"
#include "broker/log/replicated_log.hpp"
#include "broker/pipeline.hpp"
#include "broker/state/backplane_state.hpp"
#include "broker/state/participants.hpp"
#include "core/error/error.hpp"
#include "core/payload/type_registry.hpp"

namespace backplane::broker {

/// Opens the log, restores the newest checkpoint and joins when everything is applied that was in the log.
/// Then writes checkpoints, in turns with the other brokers, and announces that the publishers of brokers
/// that are gone are down. Lives on the loop thread; owns nothing.
class ClusterMember {
 public:
  using Clock = std::chrono::steady_clock;
  struct Options {
    std::size_t checkpoint_bytes = 64u << 20;  ///< of the log, from one checkpoint to the next, or
    Clock::duration checkpoint_interval = std::chrono::minutes{5};
    /// A broker that has appended nothing for this long is gone.
    Clock::duration silence_max = std::chrono::seconds{3};
  };

  /// Everything outlives it. `log` is the pipeline's.
  ClusterMember(BackplaneState& state, Access& access, Pipeline& pipeline, Participants& participants,
                TypeRegistry& types, ReplicatedLog& log, Options options);
  ClusterMember(BackplaneState& state, Access& access, Pipeline& pipeline, Participants& participants,
                TypeRegistry& types, ReplicatedLog& log)
      : ClusterMember(state, access, pipeline, participants, types, log, Options{}) {}

  /// Connects to the log, or creates it, opens the store, and restores the state from the newest checkpoint
  /// that the store reaches. A store that reaches none begins after the newest. Blocks for some seconds;
  /// longer while no server can be reached. @returns an error that names the setting or the server.
  /// @param name unique among the brokers of the log
  /// @param new_stream the stream if the log is new
  Result<void> open(const BackplaneConfig& config, const std::string& name, std::uint64_t new_stream);

  /// Every turn, after the pipeline's flush(), which throws std::runtime_error if the store does not fit the
  /// log. Throws it if another broker has this one's name, if the log has failed before the broker was ready,
  /// or if the store has more than the log.
  void turn(Clock::time_point now);
  /// About once a second.
  void each_second(Clock::time_point now);

  /// Whether everything has been applied that was in the log when this broker came. Before, it serves nobody:
  /// readers and publishers stay with other brokers.
  [[nodiscard]] bool is_ready() const noexcept { return is_ready_; }
  /// Why it takes no events, in one line; empty: it does.
  [[nodiscard]] std::string fault() const;
  [[nodiscard]] ClusterReport report(Clock::time_point now) const;
  /// Nothing that it has taken is on its way.
  [[nodiscard]] bool is_idle() const { return log_.is_idle() || log_.condition().failed; }
  /// How long ago the stream began.
  [[nodiscard]] std::chrono::nanoseconds stream_age() const;
  /// The time of the stream, Unix. It never goes back.
  [[nodiscard]] std::int64_t stream_time_ns() const noexcept { return log_.place().received_ns; }
  [[nodiscard]] std::uint64_t index() const noexcept { return log_.place().index; }
  [[nodiscard]] ReplicatedLog& log() noexcept { return log_; }

 private:
  /// A broker of the log, as this one sees it.
  struct Seen {
    std::uint64_t incarnation{};
    std::uint64_t number{};
    Clock::time_point at{};  ///< when that changed
    bool is_here{};          ///< it has not left
  };

  [[nodiscard]] Result<void> restore(const std::string& checkpoint);
  [[nodiscard]] Result<void> begin_store(HistoryStore::Opened opened);
  [[nodiscard]] std::string compare_with_store(const HistoryStore::Opened& opened) const;
  void begin_checkpoints(Clock::time_point now);
  void write_checkpoint(Clock::time_point now);
  void watch_members(Clock::time_point now);
  void announce_sources(Clock::time_point now);
  [[nodiscard]] bool is_alive(std::uint64_t incarnation, Clock::time_point now) const;
  [[nodiscard]] Clock::time_point gone_since(std::uint64_t incarnation, Clock::time_point now) const;
  [[nodiscard]] std::size_t members_alive(Clock::time_point now, std::size_t& rank) const;

  BackplaneState& state_;
  Access& access_;
  Pipeline& pipeline_;
  Participants& participants_;
  TypeRegistry& types_;
  ReplicatedLog& log_;
  Options options_;
  std::string name_;
  std::uint64_t end_{};        ///< the last index when the log was opened
  std::uint64_t stored_{};     ///< the position that the store had
  std::int64_t created_ns_{};  ///< the log, Unix
  bool is_ready_{};
  std::map<std::string, Seen, std::less<>> seen_;
  std::map<std::uint64_t, Clock::time_point> missing_since_;  ///< owners of sources that are gone
  std::uint64_t checkpoint_bytes_{};                          ///< read_bytes at which the next one is written
  Clock::time_point checkpoint_at_{};                         ///< or when
};

}  // namespace backplane::broker
