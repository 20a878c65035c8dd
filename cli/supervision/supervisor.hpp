#pragma once
// Child processes that are restarted when they exit.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/process/child.hpp"
#include "core/process/signals.hpp"

namespace backplane::cli {

/// Runs the child processes of `backplane up`. Lives on the main thread, which must not exit while there are
/// children; owns them. Restarts a child that exits unexpectedly, after a delay that doubles each time.
class Supervisor {
 public:
  using Clock = std::chrono::steady_clock;

  /// Receives what the children print and do. Called from the supervisor's methods.
  struct Listener {
    /// A line that a child wrote to standard error.
    std::function<void(std::string_view line)> on_line;
    /// A child was restarted, killed, or cannot run: one line.
    std::function<void(std::string_view text)> on_report;
  };

  /// The role of a child decides when it is stopped, and whether its exit is an error.
  enum class Role { publisher, broker, gateway };

  /// How waiting ended.
  enum class Outcome {
    ready,    ///< what was waited for has happened
    timeout,  ///< the deadline was reached
    ended,    ///< a child exited, and is not restarted
    stop      ///< a signal asks this process to stop
  };

  /// How long stop() waits for the children of each role, counted from its call.
  struct StopLimits {
    std::chrono::milliseconds publishers{3'000};  ///< they wait until their events are confirmed
    std::chrono::milliseconds broker{8'000};      ///< it publishes and stores what it has received
    std::chrono::milliseconds gateway{10'000};
    std::chrono::milliseconds silence{2'000};  ///< then the user learns whom stop() waits for
  };

  Supervisor(Signals& signals, Listener listener, StopLimits limits);
  Supervisor(Signals& signals, Listener listener) : Supervisor(signals, std::move(listener), StopLimits{}) {}
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// Starts a child.
  /// @param name  names it in reports; unique
  /// @returns an error that names the program if it cannot be started.
  Result<void> start(Role role, const std::string& name, std::vector<std::string> arguments);

  /// Replaces the arguments for later restarts of a child.
  void set_arguments(std::string_view name, std::vector<std::string> arguments);

  /// Blocks until a child that was just started has printed `count` ready lines. Does not restart this child.
  Outcome wait_ready(std::string_view name, std::size_t count, std::chrono::milliseconds timeout);

  /// Blocks until `deadline`, or until the descriptor `also` (-1: none) is readable, which returns `ready`.
  /// Meanwhile it reads the children's output, restarts children and relays SIGHUP to broker and gateway.
  /// `ended`: a broker or gateway cannot run with its configuration.
  Outcome tend(Clock::time_point deadline, int also = -1);

  /// The ready lines that a child has printed since it was last started.
  [[nodiscard]] const std::vector<std::string>& ready_lines(std::string_view name) const;

  /// Stops all children: publishers first, then the broker, then the gateway. Each role gets SIGTERM, and
  /// SIGKILL after its time limit. After a second signal to this process, SIGKILL comes at once. Blocks until
  /// they have ended.
  /// @returns whether all of them exited with code 0; reports each that did not.
  bool stop();

 private:
  struct Member;

  Member& member(std::string_view name) const;
  bool wait_for_event(Clock::time_point deadline, int also);
  void read_pipes(Member& member);
  void check(Member& member, Clock::time_point now);
  void restart(Member& member, Clock::time_point now);
  [[nodiscard]] bool stop(Role role, Clock::time_point begin, std::chrono::milliseconds limit);
  void relay_signals();

  Signals& signals_;
  Listener listener_;
  StopLimits limits_;
  std::vector<std::unique_ptr<Member>> members_;
  bool stop_requested_{};
  bool cannot_run_{};  // a broker or gateway with a wrong configuration
};

}  // namespace backplane::cli
