#include "bench/broker/store_alone.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/median.hpp"
#include "broker/config.hpp"
#include "broker/state/memory_history.hpp"
#include "broker/store/file_history.hpp"

namespace backplane::bench {
namespace {

using namespace broker;
using Clock = std::chrono::steady_clock;

constexpr std::size_t event_bytes = 200;  // with the stamp
constexpr std::size_t batch_events = 64;
constexpr std::int64_t event_interval_ns = 10'000;
constexpr double mib = 1024.0 * 1024.0;

// A topic with few events, evenly distributed over the whole log.
constexpr std::string_view rare_topic = "plant.rare.sensor";
constexpr std::uint64_t rare_events = 20;
constexpr std::uint64_t rare_events_read = 10;

constexpr double open_closed_ms_target = 2'000;
constexpr double open_killed_ms_target = 10'000;
constexpr double topic_bytes_target = 200;
constexpr double mib_per_gb_target = 1;
constexpr double rare_ms_target = 50;
constexpr double replay_k_target = 2'000;
constexpr double amplification_target = 2;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double milliseconds_since(Clock::time_point begin) {
  return seconds_since(begin) * 1e3;
}

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t all = 0;
  std::size_t resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

/// Of this process, so far: bytes that it has passed to write() or got from read(), also from caches.
std::uint64_t io_bytes(std::string_view name) {
  std::ifstream file("/proc/self/io");
  std::string key;
  std::uint64_t value = 0;
  while (file >> key >> value) {
    if (key.substr(0, key.size() - 1) == name) return value;
  }
  return 0;
}

[[noreturn]] void give_up(const std::string& text) {
  fmt::print(stderr, "{}\n", text);
  std::exit(1);
}

/// A child process that measures something and reports it as a T.
template <class T>
class Child {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  using Report = std::function<void(const T&)>;
  explicit Child(const std::function<void(const Report&)>& work) {
    int fds[2];
    if (::pipe(fds) != 0) std::exit(1);
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(fds[0]);
      work([&](const T& report) {
        if (::write(fds[1], &report, sizeof report) != sizeof report) ::_exit(1);
      });
      ::_exit(0);
    }
    ::close(fds[1]);
    fd_ = fds[0];
  }
  ~Child() { ::close(fd_); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  T report() {
    T report;
    if (::read(fd_, &report, sizeof report) != sizeof report) give_up("a measuring process has failed");
    return report;
  }
  void kill() { ::kill(pid_, SIGKILL); }
  void wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
  }

 private:
  pid_t pid_{};
  int fd_{-1};
};

template <class T>
T in_child(const std::function<T()>& measure) {
  Child<T> child([&](const auto& report) { report(measure()); });
  const T report = child.report();
  child.wait();
  return report;
}

// ── events ───────────────────────────────────────────────────────────────────────────────────────────────

struct SourceOptions {
  std::size_t topics{};
  std::uint64_t events{};                       // the rare topic's are distributed over so many
  std::size_t idle_topics{};                    // have one event each, before all others
  std::int64_t interval_ns{event_interval_ns};  // from event to event
};

/// Numbers and stamps events over its topics in random order, as the pipeline does.
class Source {
 public:
  explicit Source(const SourceOptions& options)
      : options_(options),
        topics_(options.topics + options.idle_topics + 1),
        rare_every_(std::max<std::uint64_t>(options.events / rare_events, 1)) {
    for (std::size_t i = 0; i + 1 < topics_.size(); ++i) {
      topics_[i].name = fmt::format("plant{}.hall{}.sensor{}", i % 17, i % 301, i);
    }
    topics_.back().name = rare_topic;
    for (std::size_t i = 0; i < batch_events; ++i) events_.emplace_back(event_bytes);
  }
  /// Continues after what is stored.
  void resume(const HistoryStore::Opened& opened) {
    position_ = opened.position;
    stream_ = opened.stream;
    std::unordered_map<std::string_view, Topic*> by_name;
    for (Topic& topic : topics_) by_name.emplace(topic.name, &topic);
    for (const HistoryStore::Tail& tail : opened.tails) {
      Topic& topic = *by_name.at(tail.topic);
      topic.position = tail.position;
      topic.offset = tail.offset;
    }
  }
  const std::vector<HistoryAppend>& batch() {
    appends_.clear();
    for (std::size_t i = 0; i < batch_events; ++i) {
      Topic& topic = next_topic();
      const wire::Stamp stamp{.stream = stream_,
                              .position = ++position_,
                              .offset = ++topic.offset,
                              .previous = topic.position,
                              .received_ns = static_cast<std::int64_t>(position_) * options_.interval_ns};
      topic.position = position_;
      wire::write_stamp(stamp, std::span(events_[i]).last<wire::stamp_bytes>());
      appends_.push_back({topic.name, events_[i], stamp, false, &topic.mark});
      published_bytes_ += topic.name.size() + events_[i].size();
    }
    return appends_;
  }
  [[nodiscard]] std::uint64_t position() const { return position_; }
  /// Of topics and events.
  [[nodiscard]] std::uint64_t published_bytes() const { return published_bytes_; }

 private:
  struct Topic {
    std::string name;
    std::uint64_t position{};
    std::uint64_t offset{};
    void* mark{};
  };
  Topic& next_topic() {
    if (position_ < options_.idle_topics) return topics_[options_.topics + position_];
    if ((position_ + rare_every_ / 2) % rare_every_ == 0) return topics_.back();
    return topics_[random_() % options_.topics];
  }

  SourceOptions options_;
  std::vector<Topic> topics_;
  std::uint64_t rare_every_;
  std::vector<std::vector<std::byte>> events_;
  std::vector<HistoryAppend> appends_;
  std::mt19937 random_{1};
  std::uint64_t stream_{1};
  std::uint64_t position_{0};
  std::uint64_t published_bytes_{0};
};

// ── a store ──────────────────────────────────────────────────────────────────────────────────────────────

HistoryLimits unlimited() {
  HistoryLimits limits;
  limits.otherwise = file_store_retention;
  limits.otherwise.history_age = std::chrono::hours{1'000'000};
  limits.bytes_max = std::size_t{1} << 50;
  return limits;
}

FileHistoryOptions store_options(const AloneOptions& options, StoreSync sync, const HistoryLimits& limits) {
  FileHistoryOptions made;
  made.path = options.directory + "/alone";
  made.backplane = "bench";
  made.sync = sync;
  made.limits = limits;
  return made;
}

struct OpenStore {
  std::unique_ptr<FileHistory> store;
  HistoryStore::Opened opened;
};

OpenStore open_store(const FileHistoryOptions& options) {
  OpenStore made{std::make_unique<FileHistory>(options), {}};
  auto opened = made.store->open(1);
  if (!opened) give_up(opened.error().text);
  made.opened = std::move(*opened);
  return made;
}

void wait_for(HistoryStore& store) {
  pollfd fd{.fd = store.progress_fd(), .events = POLLIN, .revents = 0};
  if (fd.fd >= 0) (void)poll(&fd, 1, 1000);
}

/// Appends until `source` is at `events`. @returns the longest append() in seconds.
double fill(HistoryStore& store, Source& source, std::uint64_t events) {
  double longest = 0;
  std::uint64_t last = 0;
  while (source.position() < events) {
    const auto& batch = source.batch();
    for (;;) {
      const auto before = Clock::now();
      const HistoryStore::Ticket ticket = store.append(batch);
      longest = std::max(longest, seconds_since(before));
      last = ticket.number;
      if (ticket.result == HistoryStore::Accepted::accepted) break;
      if (ticket.result == HistoryStore::Accepted::failed) give_up(store.condition().text);
      (void)store.progress();
      wait_for(store);
    }
  }
  while (store.progress().durable < last) wait_for(store);
  return longest;
}

/// Reads from the disk, not from the page cache.
void drop_from_cache(const AloneOptions& options) {
  for (const auto& file : std::filesystem::directory_iterator(options.directory + "/alone")) {
    const int fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
    (void)::fdatasync(fd);  // what is not yet on disk stays in the cache
    (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)::close(fd);
  }
}

struct ReadFigures {
  std::uint64_t events{};
  double ms{};
  double first_ms{};            ///< until the first slice with events
  std::uint64_t first_bytes{};  ///< read until then
};

ReadFigures read_all(HistoryStore& store, ReadRequest request, std::uint64_t slices_max = ~std::uint64_t{0}) {
  ReadFigures figures;
  const auto begin = Clock::now();
  const std::uint64_t bytes = io_bytes("rchar");
  for (std::uint64_t slices = 0; slices < slices_max; ++slices) {
    (void)store.start_read(request);
    std::optional<ReadSlice> slice = store.next_slice();
    while (!slice) {
      wait_for(store);
      slice = store.next_slice();
    }
    if (figures.events == 0 && !slice->events.empty()) {
      figures.first_ms = milliseconds_since(begin);
      figures.first_bytes = io_bytes("rchar") - bytes;
    }
    figures.events += slice->events.size();
    if (slice->end == ReadSlice::End::gone) give_up("events that were written are not in history");
    if (slice->end != ReadSlice::End::more) break;
    request.cursor = slice->cursor;
  }
  figures.ms = milliseconds_since(begin);
  return figures;
}

ReadRequest read_of(std::string_view pattern, ReadRequest::What what) {
  ReadRequest request(Pattern::parse(pattern).value());
  request.what = what;
  return request;
}

// ── printing ─────────────────────────────────────────────────────────────────────────────────────────────

int print_figure(std::string_view name, double value, std::string_view unit, double target, bool at_most,
                 const std::string& more = {}) {
  const bool reached = at_most ? value <= target : value >= target;
  fmt::print("  {:<46} {:>10.{}f} {:<12} {:>10}  {}{}\n", name, value, value < 100 ? 2 : 0, unit,
             fmt::format("{} {:.0f}", at_most ? "<=" : ">=", target), reached ? "reached" : "MISSED",
             more.empty() ? "" : "  " + more);
  std::fflush(stdout);
  return reached ? 0 : 1;
}

std::string listed(const std::vector<double>& values) {
  std::string text;
  for (const double value : values)
    text += fmt::format("{}{:.{}f}", text.empty() ? "" : ", ", value, value < 100 ? 2 : 0);
  return "runs: " + text;
}

}  // namespace

// ── writing ──────────────────────────────────────────────────────────────────────────────────────────────

int compare_appends(const AloneOptions& options) {
  struct Variant {
    std::string_view name;
    std::optional<StoreSync> sync;  // nullopt: memory
  };
  const std::array variants{Variant{"memory (256 MiB)", std::nullopt}, Variant{"file, off", StoreSync::off},
                            Variant{"file, 1s", StoreSync::interval},
                            Variant{"file, always", StoreSync::always}};
  struct Figures {
    double k_a_second;
    double cpu_us;
    double longest_ms;
  };
  std::array<std::vector<double>, variants.size()> rates;
  std::array<std::vector<double>, variants.size()> costs;
  std::array<std::vector<double>, variants.size()> longest;
  for (int i = 0; i < options.runs; ++i) {
    for (std::size_t k = 0; k < variants.size(); ++k) {
      const std::size_t which = (k + static_cast<std::size_t>(i)) % variants.size();
      std::filesystem::remove_all(options.directory + "/alone");
      const Figures figures = in_child<Figures>([&] {
        std::unique_ptr<HistoryStore> store;
        if (variants[which].sync) {
          store = open_store(store_options(options, *variants[which].sync, unlimited())).store;
        } else {
          store = std::make_unique<MemoryHistory>(HistoryLimits{});
        }
        Source source({.topics = options.topics, .events = options.rate_events});
        const double cpu = cpu_seconds();
        const auto begin = Clock::now();
        const double slowest = fill(*store, source, options.rate_events);
        const auto events = static_cast<double>(source.position());
        return Figures{events / seconds_since(begin) / 1e3, (cpu_seconds() - cpu) / events * 1e6,
                       slowest * 1e3};
      });
      rates[which].push_back(figures.k_a_second);
      costs[which].push_back(figures.cpu_us);
      longest[which].push_back(figures.longest_ms);
    }
  }
  fmt::print(
      "\nThe store alone, appends of 64 events of 200 B over {} topics; medians of {} runs of {} events\n",
      options.topics, options.runs, options.rate_events);
  fmt::print("  {:<18} {:>10} {:>12} {:>20}\n", "store", "k events/s", "us CPU/event", "longest append() ms");
  for (std::size_t k = 0; k < variants.size(); ++k) {
    fmt::print("  {:<18} {:>10.0f} {:>12.2f} {:>20.2f}\n", variants[k].name, median(rates[k]),
               median(costs[k]), median(longest[k]));
  }
  std::fflush(stdout);
  std::filesystem::remove_all(options.directory + "/alone");
  return 0;
}

// ── a large store ────────────────────────────────────────────────────────────────────────────────────────

namespace {

/// Kills a process that appends at the full rate, `running` after its store has `events`. Continues what is
/// stored. @returns the seconds that it took to come so far.
double fill_and_kill(const AloneOptions& options, std::uint64_t events, std::chrono::milliseconds running) {
  Child<double> child([&](const auto& report) {
    const OpenStore open = open_store(store_options(options, StoreSync::interval, unlimited()));
    Source source({.topics = options.topics, .events = options.events});
    source.resume(open.opened);
    const auto begin = Clock::now();
    (void)fill(*open.store, source, events);
    report(seconds_since(begin));
    for (;;) (void)fill(*open.store, source, source.position() + 10'000);
  });
  const double took = child.report();
  ::usleep(static_cast<useconds_t>(running.count() * 1000));
  child.kill();
  child.wait();
  return took;
}

struct OpenFigures {
  double ms;
  std::size_t topics;
  std::uint64_t position;
  double stored_gb;
  double topics_bytes;
  double index_bytes;
  double resident;
};

/// Opens the store with a cold cache, and closes it.
OpenFigures time_open(const AloneOptions& options) {
  drop_from_cache(options);
  return in_child<OpenFigures>([&] {
    ::malloc_trim(0);
    const auto before = static_cast<double>(resident_bytes());
    const auto begin = Clock::now();
    OpenStore open = open_store(store_options(options, StoreSync::interval, unlimited()));
    OpenFigures figures{.ms = milliseconds_since(begin),
                        .topics = open.opened.tails.size(),
                        .position = open.opened.position,
                        .stored_gb = static_cast<double>(open.store->figures().bytes) / 1e9,
                        .topics_bytes = static_cast<double>(open.store->store_figures().topics_bytes),
                        .index_bytes = static_cast<double>(open.store->store_figures().index_bytes),
                        .resident = 0};
    open.opened = {};
    ::malloc_trim(0);
    figures.resident = static_cast<double>(resident_bytes()) - before;
    open.store.reset();  // marks it as closed
    return figures;
  });
}

ReadFigures time_read(const AloneOptions& options, const std::function<ReadRequest(const OpenStore&)>& make,
                      bool is_cold, std::uint64_t slices_max = ~std::uint64_t{0}) {
  return in_child<ReadFigures>([&] {
    const OpenStore open = open_store(store_options(options, StoreSync::interval, unlimited()));
    const ReadRequest request = make(open);
    if (is_cold) drop_from_cache(options);
    return read_all(*open.store, request, slices_max);
  });
}

}  // namespace

int measure_large_store(const AloneOptions& options) {
  std::filesystem::remove_all(options.directory + "/alone");
  int missed = 0;
  std::vector<double> killed;
  std::vector<double> closed;
  OpenFigures figures{};
  const double filling = fill_and_kill(options, options.events, std::chrono::milliseconds{700});
  fmt::print(
      "\nA store of {} events of 200 B over {} topics, filled at {:.0f} k events/s; medians of {} runs\n",
      options.events, options.topics, static_cast<double>(options.events) / filling / 1e3, options.runs);
  fmt::print("  {:<46} {:>10} {:<12} {:>10}\n", "", "median", "", "target");
  for (int i = 0; i < options.runs; ++i) {
    if (i > 0) {
      (void)fill_and_kill(options, figures.position + 1'000'000, std::chrono::milliseconds{300 * i});
    }
    figures = time_open(options);
    killed.push_back(figures.ms);
  }
  for (int i = 0; i < options.runs; ++i) {
    figures = time_open(options);
    closed.push_back(figures.ms);
  }
  const double topics = static_cast<double>(figures.topics);
  missed +=
      print_figure("opening after close", median(closed), "ms", open_closed_ms_target, true, listed(closed));
  missed += print_figure("opening after kill -9 at the full rate", median(killed), "ms",
                         open_killed_ms_target, true, listed(killed));
  missed += print_figure("memory per topic", figures.topics_bytes / topics, "B", topic_bytes_target, true,
                         fmt::format("{} topics", figures.topics));
  missed += print_figure("memory per GB stored", figures.index_bytes / mib / figures.stored_gb, "MiB",
                         mib_per_gb_target, true, fmt::format("{:.1f} GB stored", figures.stored_gb));
  const double allowed = topic_bytes_target * topics + mib_per_gb_target * mib * figures.stored_gb;
  missed += print_figure("memory of the whole process, after opening", figures.resident / mib, "MiB",
                         allowed / mib, true);

  std::vector<double> rare;
  std::vector<double> since;
  ReadFigures first{};
  for (int i = 0; i < options.runs; ++i) {
    const ReadFigures read = time_read(
        options,
        [](const OpenStore& open) {
          ReadRequest request = read_of(rare_topic, ReadRequest::What::after_offset);
          for (const HistoryStore::Tail& tail : open.opened.tails) {
            if (tail.topic == rare_topic)
              request.offset = tail.offset - std::min(tail.offset, rare_events_read);
          }
          return request;
        },
        true);
    if (read.events != rare_events_read) give_up(fmt::format("{} events of the rare topic", read.events));
    rare.push_back(read.ms);
    // Of the last hundredth, at a place that no read before has touched.
    first = time_read(
        options,
        [&](const OpenStore& open) {
          ReadRequest request = read_of(">", ReadRequest::What::since_time);
          request.since_ns = static_cast<std::int64_t>(open.opened.position - open.opened.position / 100) *
                             event_interval_ns;
          return request;
        },
        true, 1);
    since.push_back(first.first_ms);
  }
  missed += print_figure("the last 10 events of a rare topic, cold cache", median(rare), "ms", rare_ms_target,
                         true, listed(rare));
  missed += print_figure("since = a time, cold cache: the first events", median(since), "ms", rare_ms_target,
                         true, fmt::format("{:.2f} MiB read", static_cast<double>(first.first_bytes) / mib));

  std::vector<double> replays;
  const auto everything = [](const OpenStore&) { return read_of(">", ReadRequest::What::after_position); };
  for (int i = 0; i < options.runs; ++i) {
    const ReadFigures read = time_read(options, everything, true);
    replays.push_back(static_cast<double>(read.events) / read.ms);
  }
  missed += print_figure("replay of everything, cold cache", median(replays), "k events/s", replay_k_target,
                         false, listed(replays));
  std::vector<double> recent;
  const auto recent_events = std::min<std::uint64_t>(options.events, 5'000'000);
  for (int i = 0; i < options.runs + 1; ++i) {
    const ReadFigures read = time_read(
        options,
        [&](const OpenStore& open) {
          ReadRequest request = read_of(">", ReadRequest::What::after_position);
          request.position = open.opened.position - recent_events;
          return request;
        },
        false);
    if (i > 0) recent.push_back(static_cast<double>(read.events) / read.ms);  // the first one fills the cache
  }
  missed += print_figure(fmt::format("replay of the last {} k, warm cache", recent_events / 1000),
                         median(recent), "k events/s", replay_k_target, false, listed(recent));
  std::filesystem::remove_all(options.directory + "/alone");
  return missed;
}

// ── what is written ──────────────────────────────────────────────────────────────────────────────────────

int measure_written_bytes(const AloneOptions& options) {
  const std::uint64_t events = std::min(options.events, options.cleaned_events);
  const auto week_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(file_store_retention.history_age).count();
  struct Variant {
    std::string name;
    std::size_t bytes_max;
    std::int64_t interval_ns;
  };
  // About 280 bytes per event are written: four times as many as may stay.
  const std::array variants{
      Variant{"events above store_bytes_max are removed", static_cast<std::size_t>(events) * 70,
              event_interval_ns},
      Variant{"events above history_age are removed", std::size_t{1} << 50,
              static_cast<std::int64_t>(4.0 * static_cast<double>(week_ns) / static_cast<double>(events))},
  };
  struct Figures {
    double amplification;
    double cleaned;
    double left;
  };
  fmt::print(
      "\nBytes written to files per byte published (topic and event), default retention, {} events: a "
      "quarter\n"
      "stays; beside the {} topics, a tenth as many have one event at the beginning, which stays\n",
      events, options.topics);
  int missed = 0;
  for (const Variant& variant : variants) {
    std::vector<double> amplifications;
    Figures figures{};
    for (int i = 0; i < options.runs; ++i) {
      std::filesystem::remove_all(options.directory + "/alone");
      figures = in_child<Figures>([&] {
        HistoryLimits limits;
        limits.otherwise = file_store_retention;
        limits.bytes_max = variant.bytes_max;
        const std::uint64_t before = io_bytes("wchar");
        OpenStore open = open_store(store_options(options, StoreSync::interval, limits));
        Source source({.topics = options.topics,
                       .events = events,
                       .idle_topics = options.topics / 10,
                       .interval_ns = variant.interval_ns});
        (void)fill(*open.store, source, events);
        while (open.store->maintain()) {
        }
        const auto stored = open.store->figures();
        open.store.reset();
        const auto published = static_cast<double>(source.published_bytes());
        return Figures{.amplification = static_cast<double>(io_bytes("wchar") - before) / published,
                       .cleaned = static_cast<double>(stored.cleaned_bytes) / published,
                       .left = static_cast<double>(stored.bytes) / published};
      });
      amplifications.push_back(figures.amplification);
    }
    missed += print_figure(
        variant.name, median(amplifications), "", amplification_target, true,
        fmt::format("of these {:.2f} by the cleaner; {:.2f} left on disk", figures.cleaned, figures.left));
  }
  std::filesystem::remove_all(options.directory + "/alone");
  return missed;
}

}  // namespace backplane::bench
