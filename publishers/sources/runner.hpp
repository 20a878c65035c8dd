#pragma once
// What all sources share: the publisher, signals, the ready line, reports.

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "backplane/publisher.hpp"
#include "core/error/error.hpp"
#include "core/log/log.hpp"
#include "core/process/exit_code.hpp"
#include "core/process/wake_fd.hpp"
#include "publishers/sources/sources.hpp"

namespace backplane::sources {

class Timer;

/// Runs one source. Lives on the source's thread; owns the publisher. The only thread crossing is the
/// publisher's on_change, which just wakes this thread.
class Runner {
 public:
  /// @param resume the session of an earlier run, see Publisher::Options
  Runner(const SourceOptions& options, std::string_view source, Signals& signals,
         const std::optional<Publisher::Options::Resume>& resume = {});

  /// Waits until one of the descriptors is readable (negative ones are ignored), and reports changes of the
  /// publisher meanwhile. @returns false if a signal has requested the source to stop.
  [[nodiscard]] bool wait(std::initializer_list<int> fds);
  /// Waits until `due_ns` of the timer's clock; not at all if that has passed. @returns like wait().
  [[nodiscard]] bool wait_until(Timer& timer, std::int64_t due_ns);
  /// Waits until the broker has confirmed everything offered. @returns like wait().
  [[nodiscard]] bool flush();

  /// Offers an event, and waits while the publisher's limit on unconfirmed events is reached: after a signal,
  /// a moment at most. If the event is refused, the report begins with `where`. @returns false if the event
  /// was not accepted and the source is to stop; finish() knows why.
  [[nodiscard]] bool publish(std::string_view where, std::string_view topic,
                             const google::protobuf::Message& message, const EventOptions& event = {});
  [[nodiscard]] bool publish_text(std::string_view where, std::string_view topic, std::string_view text);

  /// Counts an unusable part of the input and reports it, at a limited rate. `consequence` is appended to the
  /// report if the source continues. @returns like publish().
  [[nodiscard]] bool bad_record(std::string_view problem, std::string_view consequence = "; skipped");

  /// Logs why the source cannot continue, and calls finish(). @returns the higher of `code` and its result.
  [[nodiscard]] ExitCode fail(std::string_view problem, ExitCode code = ExitCode::failed);

  /// Stops the publisher. After a signal, waits at most a second for the broker to confirm pending events;
  /// otherwise waits until everything is confirmed. @returns the program's exit code: failed if it reports
  /// that something is lost.
  [[nodiscard]] ExitCode finish();
  /// Counts records that were taken from the input and not offered because a signal stopped the source.
  /// finish() reports them as lost. @returns whether a signal has stopped the source.
  bool lose(std::uint64_t records) noexcept;

  [[nodiscard]] PublisherStatus status() const { return publisher_.status(); }
  [[nodiscard]] const std::string& source_name() const noexcept { return source_name_; }
  /// Sets a function that is called on the source's thread when the publisher's status has changed.
  void on_progress(std::function<void(const PublisherStatus&)> call) { on_progress_ = std::move(call); }
  /// The source saves its position, so finish() does not report unconfirmed events as lost.
  void set_resumable() noexcept { resumable_ = true; }

 private:
  [[nodiscard]] bool publish_with(std::string_view where, std::string_view topic,
                                  const std::function<Offer()>& offer);
  [[nodiscard]] bool wait_for_change();
  [[nodiscard]] bool wait_for_room();
  void report();
  void read_signals();

  const SourceOptions& options_;
  Signals& signals_;
  std::string source_name_;
  WakeFd changed_;
  Publisher publisher_;
  std::uint64_t first_sequence_;  // before the first event of this run
  PublisherStatus reported_;
  std::function<void(const PublisherStatus&)> on_progress_;
  std::uint32_t unpolled_{};  // waits that returned at once since the signals were last checked
  bool ready_printed_{};
  bool waiting_logged_{};
  std::set<std::string> key_problems_;  // logged since a broker was connected
  bool stopping_{};
  log::RateLimit::Clock::time_point publish_until_{};  // if stopping_
  bool failed_{};
  bool resumable_{};
  std::uint64_t bad_records_{};
  std::uint64_t lost_records_{};
  log::RateLimit refusals_{std::chrono::seconds{1}};
  log::RateLimit connections_{std::chrono::seconds{1}};
  log::RateLimit pressure_{std::chrono::seconds{10}};
  log::RateLimit records_{std::chrono::seconds{1}};
};

/// Creates a Runner and runs `source` with it. If an option is invalid, logs that and returns
/// ExitCode::usage.
ExitCode run_source(const SourceOptions& options, std::string_view name, Signals& signals,
                    const std::function<ExitCode(Runner&)>& source,
                    const std::optional<Publisher::Options::Resume>& resume = {});

/// --source-name, or its default for the source of this name.
[[nodiscard]] std::string source_name_of(const SourceOptions& options, std::string_view source);

/// Whether events can be published on `topic`, or on topics that begin with `topic` and a dot.
[[nodiscard]] Result<void> check_source_topic(std::string_view topic);
/// Checks the interval of a source: a millisecond to a day.
[[nodiscard]] Result<void> check_every(std::chrono::nanoseconds every);

/// Events per second according to --rate or --every, at most a million. Nothing if neither is set.
[[nodiscard]] Result<std::optional<double>> even_rate(const SourceOptions& options,
                                                      const std::optional<double>& rate);

/// Logs why the options are invalid. @returns ExitCode::usage.
[[nodiscard]] ExitCode wrong_usage(std::string_view problem);

}  // namespace backplane::sources
