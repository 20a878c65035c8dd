#include "cli/supervision/supervisor.hpp"

#include <algorithm>
#include <csignal>

#include <fmt/format.h>
#include <poll.h>

#include "core/time/duration.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds backoff_min{200};
constexpr std::chrono::milliseconds backoff_max{10'000};
/// A child that has run this long is healthy: its next delay is the shortest one again.
constexpr std::chrono::seconds healthy_after{30};

/// At most so many lines of one child per turn, so that its output cannot delay the others.
constexpr int lines_per_turn = 256;

}  // namespace

/// One program, running or waiting to be restarted.
struct Supervisor::Member {
  Role role;
  std::string name;
  std::vector<std::string> arguments;
  std::optional<Child> child{};
  std::vector<std::string> ready_lines{};
  Clock::time_point started{};
  Clock::time_point restart_at{};  ///< if there is no child
  std::chrono::milliseconds backoff{backoff_min};
  bool finished{};  ///< not restarted any more
};

Supervisor::Supervisor(Signals& signals, Listener listener, StopLimits limits)
    : signals_(signals), listener_(std::move(listener)), limits_(limits) {}
Supervisor::~Supervisor() = default;

Supervisor::Member& Supervisor::member(std::string_view name) const {
  const auto found =
      std::find_if(members_.begin(), members_.end(), [&](const auto& each) { return each->name == name; });
  CHECK(found != members_.end(), "a child's name is one that was started");
  return **found;
}

Result<void> Supervisor::start(Role role, const std::string& name, std::vector<std::string> arguments) {
  auto child = Child::start(arguments);
  if (!child) return tl::unexpected(child.error());
  members_.push_back(std::make_unique<Member>(Member{role, name, std::move(arguments)}));
  members_.back()->child = std::move(*child);
  members_.back()->started = Clock::now();
  return {};
}

void Supervisor::set_arguments(std::string_view name, std::vector<std::string> arguments) {
  member(name).arguments = std::move(arguments);
}

const std::vector<std::string>& Supervisor::ready_lines(std::string_view name) const {
  return member(name).ready_lines;
}

Supervisor::Outcome Supervisor::wait_ready(std::string_view name, std::size_t count,
                                           std::chrono::milliseconds timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  Member& waited_for = member(name);
  CHECK(waited_for.child.has_value(), "wait_ready() is for a child that was just started");
  while (waited_for.ready_lines.size() < count) {
    if (Clock::now() >= deadline) return Outcome::timeout;
    wait_for_event(deadline, -1);
    relay_signals();
    if (stop_requested_) return Outcome::stop;
    for (const auto& each : members_) {
      if (each.get() != &waited_for) check(*each, Clock::now());
    }
    read_pipes(waited_for);
    if (waited_for.ready_lines.size() >= count) break;
    if (const auto exit = waited_for.child->wait(0ms)) {
      read_pipes(waited_for);
      // A child that exits by itself has printed the reason. If a signal ended it, it has not.
      if (exit->signal != 0) {
        listener_.on_report(fmt::format("{} was killed by {} before it was ready", name, exit->str()));
      }
      waited_for.child.reset();
      waited_for.finished = true;
      return Outcome::ended;
    }
  }
  return Outcome::ready;
}

Supervisor::Outcome Supervisor::tend(Clock::time_point deadline, int also) {
  for (;;) {
    const bool also_readable = wait_for_event(deadline, also);
    relay_signals();
    const Clock::time_point now = Clock::now();
    for (const auto& each : members_) check(*each, now);
    if (stop_requested_) return Outcome::stop;
    if (cannot_run_) return Outcome::ended;
    if (also_readable) return Outcome::ready;
    if (now >= deadline) return Outcome::timeout;
  }
}

/// Blocks until a child has output or exits, a signal arrives, `also` is readable, or a restart or `deadline`
/// is due.
/// @returns whether `also` is readable.
bool Supervisor::wait_for_event(Clock::time_point deadline, int also) {
  std::vector<pollfd> waiting{{signals_.fd(), POLLIN, 0}, {also, POLLIN, 0}};
  for (const auto& each : members_) {
    if (each->child) {
      for (const int fd : {each->child->exit_fd(), each->child->output().fd(), each->child->errors().fd()}) {
        waiting.push_back({fd, POLLIN, 0});  // poll() ignores -1
      }
    } else if (!each->finished) {
      deadline = std::min(deadline, each->restart_at);
    }
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  ::poll(waiting.data(), waiting.size(), static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000)));
  return waiting[1].revents != 0;
}

void Supervisor::read_pipes(Member& member) {
  for (int i = 0; i < lines_per_turn; ++i) {
    auto line = member.child->output().next();
    if (!line) break;
    if (line->starts_with("ready ")) member.ready_lines.push_back(std::move(*line));
  }
  for (int i = 0; i < lines_per_turn; ++i) {
    const auto line = member.child->errors().next();
    if (!line) break;
    listener_.on_line(*line);
  }
}

void Supervisor::check(Member& member, Clock::time_point now) {
  if (!member.child) {
    if (!member.finished && now >= member.restart_at) restart(member, now);
    return;
  }
  const std::optional<Exit> exit = member.child->wait(0ms);
  read_pipes(member);
  if (!exit) return;
  member.child.reset();
  member.ready_lines.clear();
  const bool usage = exit->signal == 0 && exit->code == 2;
  if (usage || (member.role == Role::publisher && exit->clean())) {
    member.finished = true;
    if (usage)
      listener_.on_report(fmt::format("{} exited: it cannot run with this configuration", member.name));
    if (member.role != Role::publisher) cannot_run_ = true;
    return;
  }
  if (now - member.started > healthy_after) member.backoff = backoff_min;
  member.restart_at = now + member.backoff;
  listener_.on_report(fmt::format("{} exited ({}); restarting it in {}", member.name, exit->str(),
                                  format_duration(member.backoff)));
  member.backoff = std::min(member.backoff * 2, backoff_max);
}

void Supervisor::restart(Member& member, Clock::time_point now) {
  auto child = Child::start(member.arguments);
  if (!child) {
    listener_.on_report(child.error().text);
    member.restart_at = now + member.backoff;
    member.backoff = std::min(member.backoff * 2, backoff_max);
    return;
  }
  member.child = std::move(*child);
  member.started = now;
}

void Supervisor::relay_signals() {
  for (;;) {
    const Signals::Event event = signals_.next();
    if (event == Signals::Event::none) return;
    if (event == Signals::Event::stop) {
      stop_requested_ = true;
      return;  // stop() handles a second one
    }
    for (const auto& each : members_) {
      if (each->role != Role::publisher && each->child) each->child->signal(SIGHUP);
    }
  }
}

bool Supervisor::stop() {
  const Clock::time_point begin = Clock::now();
  const bool publishers = stop(Role::publisher, begin, limits_.publishers);
  const bool brokers = stop(Role::broker, begin, limits_.broker);
  const bool gateways = stop(Role::gateway, begin, limits_.gateway);
  return publishers && brokers && gateways;
}

bool Supervisor::stop(Role role, Clock::time_point begin, std::chrono::milliseconds limit) {
  Clock::time_point deadline = begin + limit;
  const Clock::time_point report_at = begin + limits_.silence;
  bool reported = false;
  bool clean = true;
  std::vector<Member*> ending;
  for (const auto& each : members_) {
    each->finished = true;
    if (each->role != role || !each->child) continue;
    each->child->signal(SIGTERM);
    ending.push_back(each.get());
  }
  while (!ending.empty() && Clock::now() < deadline) {
    wait_for_event(reported ? deadline : std::min(deadline, report_at), -1);
    if (!reported && Clock::now() >= report_at) {
      reported = true;
      for (const Member* each : ending) {
        listener_.on_report(fmt::format("waiting for {} to stop; Ctrl-C again kills it", each->name));
      }
    }
    // A second signal asks to stop at once.
    if (signals_.next() == Signals::Event::stop) deadline = Clock::now();
    for (const auto& each : members_) {
      if (each->child) read_pipes(*each);  // so that no child blocks on a full pipe
    }
    std::erase_if(ending, [this, &clean](Member* each) {
      const std::optional<Exit> exit = each->child->wait(0ms);
      if (!exit) return false;
      read_pipes(*each);  // its last lines
      // Before it has set up its signals, SIGTERM kills it, and it has nothing to lose.
      if (!exit->clean() && exit->signal != SIGTERM) {
        clean = false;
        listener_.on_report(fmt::format("{} exited ({})", each->name, exit->str()));
      }
      each->child.reset();
      return true;
    });
  }
  for (Member* each : ending) {
    listener_.on_report(fmt::format("{} did not stop in time and was killed", each->name));
    each->child.reset();  // the destructor kills it
  }
  return clean && ending.empty();
}

}  // namespace backplane::cli
