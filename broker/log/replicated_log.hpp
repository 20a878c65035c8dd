#pragma once
// The commit log of several brokers, on an engine that replicates it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "broker/access/access.hpp"
#include "broker/log/batch.hpp"
#include "broker/log/commit_log.hpp"
#include "broker/log/fences.hpp"
#include "broker/log/log_engine.hpp"
#include "core/time/duration.hpp"

namespace backplane::broker {

/// What has been applied of a log. Part of a checkpoint.
struct LogPlace {
  std::uint64_t index{};       ///< of the last batch
  std::int64_t received_ns{};  ///< of its events
  Fences fences;
};

/// Puts entries into batches and appends them, one at a time and in order; returns the batches of all brokers
/// that are to be applied, in the order of the log. See docs/decisions/0030-commit-log.md.
///
/// A batch stays here until it comes back from the log. Until join(), the log is only read; entries may be
/// taken and are appended afterwards. After leave(), nothing more is appended.
class ReplicatedLog final : public CommitLog {
 public:
  using SteadyClock = std::chrono::steady_clock;
  struct Options {
    std::string broker;   ///< unique among the brokers of the log
    std::uint64_t log{};  ///< LogHead::log
    std::size_t batch_bytes_max = 512u << 10;
    std::size_t queue_bytes_max = 8u << 20;  ///< of entries that wait for being appended
    SteadyClock::duration retry_after = std::chrono::seconds{2};
    SteadyClock::duration retry_pause = std::chrono::milliseconds{50};  ///< after a failure
    SteadyClock::duration heartbeat = std::chrono::seconds{1};  ///< an empty batch, if there is nothing else
    std::chrono::nanoseconds clock_offset_max = std::chrono::seconds{10};  ///< from the engine's clock
    std::function<SteadyClock::time_point()> now = SteadyClock::now;
    std::function<std::int64_t()> unix_now_ns = backplane::unix_now_ns;
    std::function<std::uint64_t()> random;  ///< default: random_id()
  };

  /// `users` outlives it. To be opened before anything else.
  explicit ReplicatedLog(Access& users) : users_(users) {}
  ReplicatedLog(std::unique_ptr<LogEngine> engine, Access& users, Options options);
  void open(std::unique_ptr<LogEngine> engine, Options options);

  /// Continues after a checkpoint. Before anything else.
  void restore(LogPlace place);
  /// What has been applied, if the batch that next() returned last has been.
  [[nodiscard]] const LogPlace& place() const noexcept { return place_; }

  /// Begins to append, as a new incarnation. Call it when everything in the log has been read.
  void join();
  [[nodiscard]] bool has_joined() const noexcept { return joined_; }
  /// 0 until join().
  [[nodiscard]] std::uint64_t incarnation() const noexcept { return incarnation_; }
  /// Tells the other brokers, after what has been taken, that nothing more comes.
  void leave() noexcept { leaving_ = true; }
  /// Whether that is in the log.
  [[nodiscard]] bool has_left() const noexcept { return left_as_ && applied_number_ >= *left_as_; }
  /// Another broker has joined with the name of this one, which is final.
  [[nodiscard]] bool is_replaced() const noexcept { return is_replaced_; }

  /// Stores a checkpoint of what has been applied (place()).
  void write_checkpoint(std::string bytes) { engine_->write_checkpoint(place_.index, std::move(bytes)); }

  [[nodiscard]] bool is_replicated() const override { return true; }
  [[nodiscard]] Appended append(const LogEntry& entry) override;
  [[nodiscard]] bool has_room() const override;
  void advance() override;
  [[nodiscard]] CommittedBatch* next() override;
  [[nodiscard]] std::uint64_t barrier() override;
  [[nodiscard]] bool reached(std::uint64_t barrier) const override;
  [[nodiscard]] int progress_fd() const override { return engine_->progress_fd(); }
  [[nodiscard]] Condition condition() const override;

  /// Nothing of this broker is on its way: what it has taken has been applied.
  [[nodiscard]] bool is_idle() const;

  struct Counters {
    std::uint64_t appends{};  ///< retries included
    std::uint64_t retries{};
    std::uint64_t duplicates{};  ///< batches skipped, by Fences::Verdict
    std::uint64_t fenced{};
    std::uint64_t holes{};
    std::uint64_t rereads{};     ///< the engine left out a part of the log
    std::uint64_t read_bytes{};  ///< of all batches
  };
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  [[nodiscard]] LogEngine::Status engine_status() const { return engine_->status(); }
  [[nodiscard]] std::uint64_t checkpoint_index() const { return engine_->checkpoint_index(); }
  /// Up to which index a broker had applied the log when it appended its last batch; 0: not known.
  [[nodiscard]] std::uint64_t applied_by(std::string_view broker) const;

 private:
  // A batch of this incarnation that has not come back from the log.
  struct Own {
    std::uint64_t number{};
    std::string bytes;
    std::int64_t closed_ns{};  // Unix
    bool is_confirmed{};       // by the engine
    SteadyClock::time_point confirmed_at{};
  };

  [[nodiscard]] BatchWriter& writer_for(std::size_t bytes);
  void watch_append(SteadyClock::time_point now);
  void append_next(SteadyClock::time_point now);
  [[nodiscard]] bool close_next(SteadyClock::time_point now);
  void append(Own& batch, SteadyClock::time_point now);
  [[nodiscard]] bool judge(const BatchReader& reader);
  void begin_incarnation();
  void on_own(std::uint64_t number, Fences::Verdict verdict);
  void compare_clocks(std::uint64_t number, std::int64_t engine_ns);
  void watch_confirmed();
  void append_again();
  void fail_with(std::string text);

  std::unique_ptr<LogEngine> engine_;
  Access& users_;
  Options options_;
  std::uint64_t connection_salt_{};
  LogPlace place_;
  Counters counters_;
  std::map<std::string, std::uint64_t, std::less<>> applied_by_;
  CommittedBatch current_;
  std::string failure_;      ///< not empty: nothing more is applied or appended
  std::string clock_fault_;  ///< not empty: nothing is taken
  bool is_replaced_{};

  // What is taken and has no number yet.
  std::deque<BatchWriter> queue_;
  std::size_t queue_bytes_{0};  ///< of all of queue_ but the last one
  bool barrier_wanted_{};

  bool joining_{};
  bool joined_{};
  bool leaving_{};
  std::optional<std::uint64_t> left_as_;  ///< the number of the batch with `leave`
  std::uint64_t incarnation_{0};
  std::uint64_t next_number_{0};
  std::uint64_t applied_number_{0};
  std::deque<Own> own_;
  std::optional<std::uint64_t> under_way_;  ///< the number of the append that is
  std::uint64_t attempt_{0};                ///< changes when the engine has lost a batch that it confirmed
  SteadyClock::time_point appended_at_{};
  SteadyClock::time_point append_after_{};
  SteadyClock::time_point closed_at_{};
};

}  // namespace backplane::broker
