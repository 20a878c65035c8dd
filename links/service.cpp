#include "links/service.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <poll.h>

#include "core/log/line_writer.hpp"
#include "core/log/log.hpp"
#include "core/metrics/exposition.hpp"
#include "core/metrics/listener.hpp"
#include "core/thread/mutex.hpp"
#include "core/time/deadline.hpp"
#include "links/backplanes.hpp"
#include "links/link_state.hpp"

namespace backplane::links {
namespace {

using namespace std::chrono_literals;
using Clock = Link::Clock;

constexpr std::chrono::milliseconds save_interval = 1s;
constexpr std::chrono::milliseconds figures_interval = 500ms;
// After a signal: for what was sent to be confirmed. What is not, is sent again by the next run.
constexpr std::chrono::milliseconds stop_time_max = 1s;
// If not all targets of a list reply, nothing is passed on for this time, so that nothing of theirs is.
constexpr std::chrono::milliseconds lookup_time_max = 3s;

struct Snapshot {
  LinkFigures figures;
  std::string why_not_ready{"starting"};
};

struct FigureDefinition {
  std::string_view name;
  metrics::Kind kind;
  std::string_view help;
  double (*value)(const LinkFigures&);
};

using metrics::Kind;
constexpr std::array definitions{
    FigureDefinition{"passed_total", Kind::counter, "Events published at the target",
                     [](const LinkFigures& f) { return static_cast<double>(f.passed); }},
    FigureDefinition{"lost_total", Kind::counter, "Events announced at the target as lost",
                     [](const LinkFigures& f) { return static_cast<double>(f.lost); }},
    FigureDefinition{"looped_total", Kind::counter,
                     "Events left out because they have passed the target or too many links",
                     [](const LinkFigures& f) { return static_cast<double>(f.looped); }},
    FigureDefinition{"unpassable_total", Kind::counter,
                     "Events left out because their topic would be too long at the target",
                     [](const LinkFigures& f) { return static_cast<double>(f.unpassable); }},
    FigureDefinition{"too_large_total", Kind::counter,
                     "Of lost_total, events above the target's max_event_bytes",
                     [](const LinkFigures& f) { return static_cast<double>(f.too_large); }},
    FigureDefinition{"refused_total", Kind::counter, "Events that the target refused",
                     [](const LinkFigures& f) { return static_cast<double>(f.refused); }},
    FigureDefinition{"resumed_total", Kind::counter,
                     "Times that events were sent again because they had not been confirmed",
                     [](const LinkFigures& f) { return static_cast<double>(f.resumed); }},
    FigureDefinition{"resets_total", Kind::counter, "Times that a source came back without its history",
                     [](const LinkFigures& f) { return static_cast<double>(f.resets); }},
    FigureDefinition{"history_gone_total", Kind::counter,
                     "Times that a source's history no longer had all that was to be passed on",
                     [](const LinkFigures& f) { return static_cast<double>(f.gone); }},
    FigureDefinition{"unconfirmed", Kind::gauge, "Events sent to the target and not confirmed",
                     [](const LinkFigures& f) { return static_cast<double>(f.waiting); }},
    FigureDefinition{"lag_positions", Kind::gauge,
                     "Positions of the sources, over all topics, that are not passed on yet",
                     [](const LinkFigures& f) { return static_cast<double>(f.lag); }},
    FigureDefinition{"behind_seconds", Kind::gauge,
                     "For how long the target has not had everything; 0: it has",
                     [](const LinkFigures& f) { return f.behind_seconds; }},
    FigureDefinition{"source_connected", Kind::gauge, "1 if all sources are connected",
                     [](const LinkFigures& f) { return f.source_connected ? 1.0 : 0.0; }},
    FigureDefinition{"target_connected", Kind::gauge, "1 if a target is connected",
                     [](const LinkFigures& f) { return f.target_connected ? 1.0 : 0.0; }},
};

/// What the metrics thread sees of the links. Any thread.
class FiguresBoard {
 public:
  void publish(Snapshot snapshot) {
    const MutexLock lock(mutex_);
    snapshot_ = std::move(snapshot);
  }
  [[nodiscard]] Snapshot latest() const {
    const MutexLock lock(mutex_);
    return snapshot_;
  }

 private:
  mutable Mutex mutex_;
  Snapshot snapshot_ GUARDED_BY(mutex_);
};

std::string page(const FiguresBoard& board, const std::string& name) {
  const Snapshot snapshot = board.latest();
  std::vector<metrics::Family> families;
  for (const FigureDefinition& each : definitions) {
    families.push_back({fmt::format("backplane_link_{}", each.name),
                        std::string(each.help),
                        each.kind,
                        {{.labels = {{"link", name}}, .value = each.value(snapshot.figures)}}});
  }
  return metrics::expose(families);
}

/// The links of a process. Lives on the main thread; owns everything.
class Service {
 public:
  Service(const ServiceOptions& options, Signals& signals, std::optional<LinkStateFile> file)
      : options_(options),
        signals_(signals),
        file_(std::move(file)),
        state_(state_for(options, file_ ? file_->loaded() : LinkState{})),
        targets_(state_.targets) {
    TargetSession::Options target;
    target.keys = options.to.front().keys;
    target.publisher = options.link.name;
    std::vector<std::string> controls;
    for (const BrokerEndpoints& each : options.to) {
      target.brokers.push_back({each.ingress, each.control});
      controls.push_back(each.control);
    }
    if (controls.size() > 1) lookup_.emplace(context_, controls, target.keys, options.link.name);
    for (const BrokerEndpoints& from : options.from) {
      target.presence = options.from.size() == 1 ? options.link.name
                                                 : fmt::format("{}.{}", options.link.name, links_.size() + 1);
      links_.push_back(std::make_unique<Link>(context_, options_.link, from, target, state_, targets_));
    }
  }

  ExitCode run() {
    if (!open_metrics()) return ExitCode::failed;
    begun_ = Clock::now();
    for (;;) {
      const Clock::time_point now = Clock::now();
      if (read_signals(now)) break;
      const std::size_t done = turn(now);
      if (!fatal_.empty()) {
        log::error("{}: {}", options_.link.name, fatal_);
        return ExitCode::usage;
      }
      housekeeping(now);
      if (done == 0 && !pending()) sleep(now);
    }
    save();
    for (const auto& link : links_) link->say_goodbye();
    return failed_ ? ExitCode::failed : ExitCode::done;
  }

 private:
  /// What was remembered about another target says nothing about this one.
  static LinkState state_for(const ServiceOptions& options, LinkState loaded) {
    std::uint64_t hash = 14'695'981'039'346'656'037U;  // FNV-1a
    for (const BrokerEndpoints& each : options.to) {
      for (const char c : each.ingress) hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211U;
    }
    if (loaded.to == hash) return loaded;
    LinkState state;
    state.to = hash;
    return state;
  }

  std::size_t turn(Clock::time_point now) {
    std::size_t done = 0;
    if (lookup_) {
      done += lookup_->do_work(now);
      for (const std::uint32_t each : lookup_->take()) targets_.insert(each);
      if (lookup_->is_complete()) lookup_.reset();
    }
    const bool may_pass = !lookup_ || now - begun_ >= lookup_time_max;
    for (const auto& link : links_) {
      done += link->do_work(now, may_pass);
      if (!link->fatal().empty()) fatal_ = link->fatal();
    }
    return done;
  }

  [[nodiscard]] bool pending() {
    return (lookup_ && lookup_->pending()) ||
           std::ranges::any_of(links_, [](const auto& each) { return each->pending(); });
  }

  /// @returns whether everything has ended.
  bool read_signals(Clock::time_point now) {
    while (true) {
      const Signals::Event event = signals_.next();
      if (event == Signals::Event::none) break;
      if (event != Signals::Event::stop || stop_at_) continue;
      stop_at_ = now + stop_time_max;
      for (const auto& link : links_) link->stop();
    }
    if (!stop_at_) return false;
    return now >= *stop_at_ ||
           std::ranges::all_of(links_, [](const auto& each) { return each->is_settled(); });
  }

  void housekeeping(Clock::time_point now) {
    if (now >= save_at_) {
      save_at_ = now + save_interval;
      save();
    }
    if (now < figures_at_) return;
    figures_at_ = now + (is_ready_ ? figures_interval : 20ms);
    Snapshot snapshot{{}, {}};
    snapshot.figures.source_connected = snapshot.figures.target_connected = true;
    for (const auto& link : links_) {
      const LinkFigures figures = link->figures();
      link->show(figures);
      snapshot.figures += figures;
    }
    if (!snapshot.figures.source_connected || !snapshot.figures.target_connected) {
      for (const auto& link : links_) {
        if (std::string problem = link->problem(); !problem.empty()) snapshot.why_not_ready = problem;
      }
      if (snapshot.why_not_ready.empty()) snapshot.why_not_ready = "connecting";
    } else if (!is_ready_) {
      is_ready_ = true;
      log::standard_output().write(fmt::format("ready role=link name={} from={} to={}\n", options_.link.name,
                                               options_.from.front().control, options_.to.front().ingress));
    }
    board_.publish(std::move(snapshot));
  }

  void save() {
    if (!file_) return;
    LinkState state = state_;
    for (const auto& link : links_) {
      if (const auto progress = link->progress()) {
        state.sources[static_cast<std::uint32_t>(progress->stream >> 32)] = *progress;
      }
    }
    state.targets.insert(targets_.begin(), targets_.end());
    if (state == state_) return;
    if (const auto saved = file_->save(state); !saved) {
      if (problems_.allow(Clock::now())) log::error("{}: {}", options_.link.name, saved.error().text);
      failed_ = true;
      return;
    }
    failed_ = false;
    state_ = std::move(state);
  }

  void sleep(Clock::time_point now) {
    std::vector<pollfd> waiting{{signals_.fd(), POLLIN, 0}};
    Clock::time_point until = std::min(figures_at_, save_at_);
    const auto watch = [&](const std::vector<int>& fds) {
      for (const int fd : fds) waiting.push_back({fd, POLLIN, 0});
    };
    for (const auto& link : links_) {
      watch(link->fds());
      until = std::min(until, link->next_deadline());
    }
    if (lookup_) {
      watch(lookup_->fds());
      until = std::min({until, lookup_->next_deadline(), begun_ + lookup_time_max});
    }
    if (stop_at_) until = std::min(until, *stop_at_);
    ::poll(waiting.data(), waiting.size(), poll_timeout(until, now));
  }

  bool open_metrics() {
    if (options_.metrics == "off") return true;
    auto listener = metrics::MetricsListener::open(
        options_.metrics, {.metrics = [this] { return page(board_, options_.link.name); },
                           .why_not_ready = [this] { return board_.latest().why_not_ready; }});
    if (!listener) {
      log::error("metrics: {}", listener.error().text);
      return false;
    }
    metrics_ = std::move(*listener);
    log::info("metrics on {}", metrics_->address());
    return true;
  }

  const ServiceOptions& options_;
  Signals& signals_;
  std::optional<LinkStateFile> file_;
  LinkState state_;  // as saved
  std::set<std::uint32_t> targets_;
  mq::Context context_;
  std::vector<std::unique_ptr<Link>> links_;
  std::optional<BackplaneLookup> lookup_;
  Clock::time_point begun_{};
  Clock::time_point save_at_{};
  Clock::time_point figures_at_{};
  std::optional<Clock::time_point> stop_at_;
  bool is_ready_{};
  bool failed_{};
  std::string fatal_;
  log::RateLimit problems_{10s};
  FiguresBoard board_;
  std::unique_ptr<metrics::MetricsListener> metrics_;  // last: its thread reads the board
};

}  // namespace

ExitCode run_links(const ServiceOptions& options, Signals& signals) {
  std::optional<LinkStateFile> file;
  if (!options.state.empty()) {
    auto opened = LinkStateFile::open(options.state, options.state_name);
    if (!opened) {
      log::error("{}", opened.error().text);
      return opened.error().code == ErrorCode::invalid_argument ? ExitCode::usage : ExitCode::failed;
    }
    file = std::move(*opened);
  }
  try {
    return Service(options, signals, std::move(file)).run();
  } catch (const std::invalid_argument& error) {
    log::error("{}", error.what());
    return ExitCode::usage;
  }
}

}  // namespace backplane::links
