#pragma once
// What every source does around its events: the publisher, the signals, the ready line, the reports.

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
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

/// Lives on the source's thread; owns the publisher. The one crossing is the publisher's on_change, which
/// does no more than wake this thread.
class Runner {
 public:
  Runner(const SourceOptions& options, std::string_view source, Signals& signals);

  /// Waits until one of the descriptors is readable (negative ones never are), and reports meanwhile what
  /// becomes of the publisher. @returns false where a signal asks for the end.
  [[nodiscard]] bool wait(std::initializer_list<int> fds);
  /// Waits until `due_ns` of the timer's clock. What is late waits for nothing. @returns as wait().
  [[nodiscard]] bool wait_until(Timer& timer, std::int64_t due_ns);
  /// Waits until the broker has dealt with everything offered. @returns as wait().
  [[nodiscard]] bool flush();

  /// Offers an event, and waits where the unconfirmed ones fill their bound. `where` begins the report where
  /// it cannot be taken. @returns false where the source is to end: finish() then knows why.
  [[nodiscard]] bool publish(std::string_view where, std::string_view topic,
                             const google::protobuf::Message& message, const EventOptions& event = {});
  [[nodiscard]] bool publish_text(std::string_view where, std::string_view topic, std::string_view text);

  /// Reports something in the input that cannot be used, at a limited rate, and counts it. `consequence` ends
  /// the report where the source goes on. @returns as publish().
  [[nodiscard]] bool bad_record(std::string_view problem, std::string_view consequence = "; skipped");

  /// Logs why the source cannot go on, and ends as finish() does. @returns `code`.
  [[nodiscard]] ExitCode fail(std::string_view problem, ExitCode code = ExitCode::failed);

  /// The end: after a signal, with a second at most for what the broker has not admitted; else when it has
  /// dealt with everything. @returns what the program returns.
  [[nodiscard]] ExitCode finish();

  [[nodiscard]] PublisherStatus status() const { return publisher_.status(); }
  [[nodiscard]] const std::string& source_name() const noexcept { return source_name_; }
  /// Called on the source's thread whenever it notices that the publisher has come further.
  void on_progress(std::function<void(const PublisherStatus&)> call) { on_progress_ = std::move(call); }
  /// The source itself remembers what the broker has not taken: the end does not call it lost.
  void set_resumable() noexcept { resumable_ = true; }
  /// Goes with the hello that the publisher says to its broker.
  void set_counter(std::string name, std::uint64_t value);

 private:
  [[nodiscard]] bool publish_with(std::string_view where, std::string_view topic,
                                  const std::function<Offer()>& offer);
  [[nodiscard]] bool wait_for_change();
  void report();
  void read_signals();

  const SourceOptions& options_;
  Signals& signals_;
  std::string source_name_;
  WakeFd changed_;
  Publisher publisher_;
  PublisherStatus reported_;
  std::function<void(const PublisherStatus&)> on_progress_;
  std::uint32_t unpolled_{};  // waits that were over at once, since the last look at the signals
  bool ready_printed_{};
  bool waiting_logged_{};
  bool stopping_{};
  bool failed_{};
  bool resumable_{};
  std::uint64_t bad_records_{};
  log::RateLimit refusals_{std::chrono::seconds{1}};
  log::RateLimit connections_{std::chrono::seconds{1}};
  log::RateLimit pressure_{std::chrono::seconds{10}};
  log::RateLimit records_{std::chrono::seconds{1}};
};

/// Makes a Runner and runs `source` with it. What cannot be used of the options is logged and ends as
/// ExitCode::usage.
ExitCode run_source(const SourceOptions& options, std::string_view name, Signals& signals,
                    const std::function<ExitCode(Runner&)>& source);

/// Whether events can be published on `topic`, or on topics that begin with it and a dot.
[[nodiscard]] Result<void> check_source_topic(std::string_view topic);
/// Whether a source can have an event each `every`: a millisecond to a day.
[[nodiscard]] Result<void> check_every(std::chrono::nanoseconds every);

/// Events a second, where --rate or --every says so: up to a million.
[[nodiscard]] Result<std::optional<double>> even_rate(const SourceOptions& options,
                                                      const std::optional<double>& rate);

/// Logs why the options cannot be used.
[[nodiscard]] ExitCode wrong_usage(std::string_view problem);

}  // namespace backplane::sources
