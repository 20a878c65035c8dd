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
/// Whoever has lived that long is not in a loop of dying.
constexpr std::chrono::seconds sound_life{30};

/// When the last of each kind has to have ended, from the beginning of the end on. A broker reads until
/// 200 ms of quiet before it ends.
constexpr std::chrono::milliseconds publishers_end{800};
constexpr std::chrono::milliseconds broker_ends{1'500};
constexpr std::chrono::milliseconds gateway_ends{1'900};

/// Lines of one child that are read in a row, so that a talkative one doesn't keep us from the others.
constexpr int lines_a_turn = 256;

}  // namespace

/// One program, whether it runs at the moment or not.
struct Supervisor::Member {
  Role role;
  std::string name;
  std::vector<std::string> arguments;
  std::optional<Child> child{};
  std::vector<std::string> ready_lines{};
  Clock::time_point started{};
  Clock::time_point restart_at{};  ///< where there is no child
  std::chrono::milliseconds backoff{backoff_min};
  bool finished{};  ///< not to be started again
};

Supervisor::Supervisor(Signals& signals, Listener listener)
    : signals_(signals), listener_(std::move(listener)) {}
Supervisor::~Supervisor() = default;

Supervisor::Member& Supervisor::member(std::string_view name) const {
  const auto found =
      std::find_if(members_.begin(), members_.end(), [&](const auto& each) { return each->name == name; });
  CHECK(found != members_.end(), "a program that is asked for was started");
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
  CHECK(waited_for.child.has_value(), "a program is waited for at its first start");
  while (waited_for.ready_lines.size() < count) {
    if (Clock::now() >= deadline) return Outcome::timeout;
    wait_for_something(deadline, -1);
    relay_signals();
    if (stop_asked_) return Outcome::stop;
    for (const auto& each : members_) {
      if (each.get() != &waited_for) look_after(*each, Clock::now());
    }
    read_pipes(waited_for);
    if (waited_for.ready_lines.size() >= count) break;
    if (const auto exit = waited_for.child->wait(0ms)) {
      read_pipes(waited_for);
      // Whoever ends by itself has said why; what a signal does to it, only we know.
      if (exit->signal != 0) {
        listener_.on_report(fmt::format("{} was ended by {} before it was ready", name, exit->str()));
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
    const bool also_readable = wait_for_something(deadline, also);
    relay_signals();
    const Clock::time_point now = Clock::now();
    for (const auto& each : members_) look_after(*each, now);
    if (stop_asked_) return Outcome::stop;
    if (given_up_) return Outcome::ended;
    if (also_readable) return Outcome::ready;
    if (now >= deadline) return Outcome::timeout;
  }
}

/// Sleeps until a child, a signal or `also` wants something, or until a restart or `deadline` is due.
/// @returns whether `also` is readable.
bool Supervisor::wait_for_something(Clock::time_point deadline, int also) {
  std::vector<pollfd> waiting{{signals_.fd(), POLLIN, 0}, {also, POLLIN, 0}};
  for (const auto& each : members_) {
    if (each->child) {
      for (const int fd : {each->child->exit_fd(), each->child->output().fd(), each->child->errors().fd()}) {
        waiting.push_back({fd, POLLIN, 0});  // poll passes over -1
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
  for (int i = 0; i < lines_a_turn; ++i) {
    auto line = member.child->output().next();
    if (!line) break;
    if (line->starts_with("ready ")) member.ready_lines.push_back(std::move(*line));
  }
  for (int i = 0; i < lines_a_turn; ++i) {
    const auto line = member.child->errors().next();
    if (!line) break;
    listener_.on_line(*line);
  }
}

void Supervisor::look_after(Member& member, Clock::time_point now) {
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
      listener_.on_report(fmt::format("{} ended: it cannot be run as it is configured", member.name));
    if (member.role != Role::publisher) given_up_ = true;
    return;
  }
  if (now - member.started > sound_life) member.backoff = backoff_min;
  member.restart_at = now + member.backoff;
  listener_.on_report(fmt::format("{} ended ({}); starting it again in {}", member.name, exit->str(),
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
      stop_asked_ = true;
      return;  // a second one is for stop()
    }
    for (const auto& each : members_) {
      if (each->role == Role::broker && each->child) each->child->signal(SIGHUP);
    }
  }
}

void Supervisor::stop() {
  const Clock::time_point begin = Clock::now();
  stop(Role::publisher, begin + publishers_end);
  stop(Role::broker, begin + broker_ends);
  stop(Role::gateway, begin + gateway_ends);
}

void Supervisor::stop(Role role, Clock::time_point deadline) {
  std::vector<Member*> ending;
  for (const auto& each : members_) {
    each->finished = true;
    if (each->role != role || !each->child) continue;
    each->child->signal(SIGTERM);
    ending.push_back(each.get());
  }
  while (!ending.empty() && Clock::now() < deadline) {
    wait_for_something(deadline, -1);
    // In a hurry: who asks twice doesn't want to wait.
    if (signals_.next() == Signals::Event::stop) deadline = Clock::now();
    for (const auto& each : members_) {
      if (each->child) read_pipes(*each);  // nobody must hang on a full pipe
    }
    std::erase_if(ending, [this](Member* each) {
      if (!each->child->wait(0ms)) return false;
      read_pipes(*each);  // its last words
      each->child.reset();
      return true;
    });
  }
  for (Member* each : ending) {
    listener_.on_report(fmt::format("{} did not end when asked and was killed", each->name));
    each->child.reset();  // kills
  }
}

}  // namespace backplane::cli
