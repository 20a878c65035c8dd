#pragma once
// Child processes that are kept running.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/process/child.hpp"
#include "core/process/signals.hpp"

namespace backplane::cli {

/// Runs the programs of one `backplane up`. Lives on the main thread, which must not end while there are
/// children; owns them. One that dies unasked is started again, later each time.
class Supervisor {
 public:
  using Clock = std::chrono::steady_clock;

  /// Who is told what the children say and do. Called from within the supervisor's methods.
  struct Listener {
    /// A line that a child wrote on standard error.
    std::function<void(std::string_view line)> on_line;
    /// Something happened to a child: one line for a person.
    std::function<void(std::string_view text)> on_report;
  };

  /// What a child is, for the order of the end and for what its death means.
  enum class Role { publisher, broker, gateway };

  /// What became of waiting.
  enum class Outcome { ready, timeout, ended, stop };

  Supervisor(Signals& signals, Listener listener);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// Starts a program. @param name what it is called in reports; unique
  /// @returns an error that names the program, where it cannot be started.
  Result<void> start(Role role, const std::string& name, std::vector<std::string> arguments);

  /// What a program is to be started with, should it die.
  void set_arguments(std::string_view name, std::vector<std::string> arguments);

  /// Waits until a program just started has said `count` ready lines. `ended`: it has ended before that,
  /// and is not started again.
  Outcome wait_ready(std::string_view name, std::size_t count, std::chrono::milliseconds timeout);

  /// Tends to the children until `deadline`, or until `also` (a descriptor; -1: none) is readable (then
  /// `ready`). `stop`: a signal asks for the end. `ended`: a program can't go on (wrong configuration).
  Outcome tend(Clock::time_point deadline, int also = -1);

  /// The ready lines of a program's present life.
  [[nodiscard]] const std::vector<std::string>& ready_lines(std::string_view name) const;

  /// Ends all: publishers first, then the broker, then the gateway, each kind within its bound (SIGTERM,
  /// then SIGKILL; a second signal to us: SIGKILL at once). Takes less than 2 s.
  void stop();

 private:
  struct Member;

  Member& member(std::string_view name) const;
  bool wait_for_something(Clock::time_point deadline, int also);
  void read_pipes(Member& member);
  void look_after(Member& member, Clock::time_point now);
  void restart(Member& member, Clock::time_point now);
  void stop(Role role, Clock::time_point deadline);
  void relay_signals();

  Signals& signals_;
  Listener listener_;
  std::vector<std::unique_ptr<Member>> members_;
  bool stop_asked_{};
  bool given_up_{};
};

}  // namespace backplane::cli
