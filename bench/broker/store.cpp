// The history store on disk beside the one in memory: append and replay rates, opening, memory.
//
//   bench_broker_store [DIRECTORY [EVENTS [TOPICS]]]     default: a folder in /tmp, 5,000,000 events, 100,000
//   topics

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>
#include <malloc.h>
#include <poll.h>
#include <unistd.h>

#include "broker/state/memory_history.hpp"
#include "broker/store/file_history.hpp"
#include "core/log/log.hpp"

namespace {

using namespace backplane;
using namespace backplane::broker;
using Clock = std::chrono::steady_clock;

constexpr std::size_t event_bytes = 200;
constexpr std::size_t batch_events = 64;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t all = 0;
  std::size_t resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

/// Numbers and stamps events over its topics in random order, as the pipeline does.
class Source {
 public:
  explicit Source(std::size_t topics) : topics_(topics) {
    for (std::size_t i = 0; i < topics; ++i) {
      topics_[i].name = fmt::format("plant{}.hall{}.sensor{}", i % 17, i % 301, i);
    }
    for (std::size_t i = 0; i < batch_events; ++i) events_.emplace_back(event_bytes);
  }
  /// Writes everything the store wants to know about the next events.
  const std::vector<HistoryAppend>& batch(std::size_t events = batch_events) {
    appends_.clear();
    for (std::size_t i = 0; i < events; ++i) {
      Topic& topic = topics_[random_() % topics_.size()];
      const wire::Stamp stamp{.stream = 1,
                              .position = ++position_,
                              .offset = ++topic.offset,
                              .previous = topic.position,
                              .received_ns = static_cast<std::int64_t>(position_) * 10'000};
      topic.position = position_;
      wire::write_stamp(stamp, std::span(events_[i]).last<wire::stamp_bytes>());
      appends_.push_back({topic.name, events_[i], stamp, false, &topic.mark});
    }
    return appends_;
  }
  [[nodiscard]] std::uint64_t position() const { return position_; }

 private:
  struct Topic {
    std::string name;
    std::uint64_t position{};
    std::uint64_t offset{};
    void* mark{};
  };
  std::vector<Topic> topics_;
  std::vector<std::vector<std::byte>> events_;
  std::vector<HistoryAppend> appends_;
  std::mt19937 random_{1};
  std::uint64_t position_{0};
};

void wait(HistoryStore& store) {
  pollfd fd{.fd = store.progress_fd(), .events = POLLIN, .revents = 0};
  if (fd.fd >= 0) (void)poll(&fd, 1, 1000);
}

void fill(const char* name, HistoryStore& store, Source& source, std::uint64_t events) {
  const auto begin = Clock::now();
  const double cpu = cpu_seconds();
  double longest = 0;
  std::uint64_t last = 0;
  while (source.position() < events) {
    const auto& batch = source.batch();
    for (;;) {
      const auto before = Clock::now();
      const HistoryStore::Ticket ticket = store.append(batch);
      longest = std::max(longest, seconds_since(before));
      if (ticket.result == HistoryStore::Accepted::accepted) {
        last = ticket.number;
        break;
      }
      if (ticket.result == HistoryStore::Accepted::failed) {
        fmt::print("{}: {}\n", name, store.condition().text);
        std::exit(1);
      }
      (void)store.progress();
      wait(store);
    }
  }
  while (store.progress().durable < last) wait(store);
  const double took = seconds_since(begin);
  fmt::print("{:<34} {:8.0f} k events/s  {:5.2f} µs CPU/event  longest append() {:.2f} ms\n", name,
             static_cast<double>(events) / took / 1e3,
             (cpu_seconds() - cpu) / static_cast<double>(events) * 1e6, longest * 1e3);
}

// How long an event waits for the store before it can be published, at 10,000 events/s.
void time_written(HistoryStore& store, Source& source) {
  std::vector<double> waits;
  auto next = Clock::now();
  while (waits.size() < 2000) {
    while (Clock::now() < next) {
    }
    next += std::chrono::microseconds(500);
    const auto& few = source.batch(5);
    const auto begin = Clock::now();
    const std::uint64_t ticket = store.append(few).number;
    while (store.progress().written < ticket) wait(store);
    waits.push_back(seconds_since(begin) * 1e6);
  }
  std::ranges::sort(waits);
  fmt::print("{:<34} {:8.0f} µs at 10 k events/s until written, p50; {:.0f} p99\n", "",
             waits[waits.size() / 2], waits[waits.size() * 99 / 100]);
}

std::uint64_t replay(HistoryStore& store, ReadRequest request, std::size_t& slices) {
  std::uint64_t events = 0;
  for (;;) {
    (void)store.start_read(request);
    std::optional<ReadSlice> slice = store.next_slice();
    while (!slice) {
      wait(store);
      slice = store.next_slice();
    }
    ++slices;
    events += slice->events.size();
    if (slice->end == ReadSlice::End::gone) {
      request.cursor.clear();
      request.what = ReadRequest::What::after_position;
      request.position = slice->first_available - 1;
      continue;
    }
    if (slice->end != ReadSlice::End::more) return events;
    request.cursor = slice->cursor;
  }
}

void time_replay(const char* name, HistoryStore& store, const ReadRequest& request) {
  std::size_t slices = 0;
  const auto begin = Clock::now();
  const std::uint64_t events = replay(store, request, slices);
  const double took = seconds_since(begin);
  fmt::print("{:<34} {:8.0f} k events/s  {} events in {:.1f} ms, {} slices\n", name,
             static_cast<double>(events) / took / 1e3, events, took * 1e3, slices);
}

ReadRequest after(const std::string& pattern, std::uint64_t position) {
  ReadRequest request(Pattern::parse(pattern).value());
  request.what = ReadRequest::What::after_position;
  request.position = position;
  return request;
}

// Reads from the disk, not from the page cache.
void drop_from_cache(const std::filesystem::path& directory) {
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    const int fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
    (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)::close(fd);
  }
}

HistoryLimits unlimited() {
  HistoryLimits limits;
  limits.otherwise.history_events = std::size_t{1} << 40;
  limits.otherwise.history_bytes = std::size_t{1} << 50;
  limits.otherwise.history_age = std::chrono::hours{1'000'000};
  limits.bytes_max = std::size_t{1} << 50;
  return limits;
}

}  // namespace

int main(int argc, char** argv) {
  log::set_level(log::Level::warning);
  const std::filesystem::path directory =
      argc > 1 ? argv[1] : fmt::format("/tmp/backplane-bench-store-{}", getpid());
  const bool only_opens = argc > 2 && std::string_view(argv[2]) == "open";
  const std::uint64_t events = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 5'000'000;
  const std::size_t topics = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 100'000;
  // The same for all stores, and enough for a rate; what is read afterwards has all events.
  const std::uint64_t rate_events = std::min<std::uint64_t>(events, 5'000'000);
  const auto options = [&](StoreSync sync, const HistoryLimits& limits) {
    FileHistoryOptions made;
    made.path = directory;
    made.backplane = "bench";
    made.sync = sync;
    made.limits = limits;
    return made;
  };

  if (only_opens) {
    if (argc < 4) drop_from_cache(directory);
    const auto begin = Clock::now();
    FileHistory store(options(StoreSync::interval, unlimited()));
    const auto opened = store.open(1);
    fmt::print("open {} ms: {}\n", static_cast<int>(seconds_since(begin) * 1e3),
               opened ? fmt::format("position {}, {} topics, {} MB", opened->position, opened->tails.size(),
                                    store.figures().bytes / 1'000'000)
                      : opened.error().text);
    return opened ? 0 : 1;
  }
  {
    MemoryHistory memory{HistoryLimits{}};
    Source source(topics);
    fill("append, memory (256 MiB)", memory, source, rate_events);
  }
  for (const auto& [name, sync] :
       {std::pair{"append, sync off", StoreSync::off}, std::pair{"append, sync always", StoreSync::always},
        std::pair{"append, sync interval", StoreSync::interval}}) {
    std::filesystem::remove_all(directory);
    FileHistory store(options(sync, unlimited()));
    if (const auto opened = store.open(1); !opened) {
      fmt::print("{}\n", opened.error().text);
      return 1;
    }
    Source source(topics);
    fill(name, store, source, sync == StoreSync::interval ? events : rate_events);
    time_written(store, source);
    const auto figures = store.store_figures();
    const HistoryStore::Figures shared = store.figures();
    fmt::print("{:<34} {:.1f} B/topic, {:.2f} MiB per GB stored, {} syncs, longest {:.1f} ms\n", "",
               static_cast<double>(figures.topics_bytes) / static_cast<double>(topics),
               static_cast<double>(figures.index_bytes) / 1048576 / (static_cast<double>(shared.bytes) / 1e9),
               shared.syncs, static_cast<double>(figures.sync_ns_max) / 1e6);
  }
  {
    ::malloc_trim(0);
    const auto before = resident_bytes();
    const auto begin = Clock::now();
    auto store = std::make_unique<FileHistory>(options(StoreSync::interval, unlimited()));
    const auto opened = store->open(1);
    if (!opened) {
      fmt::print("{}\n", opened.error().text);
      return 1;
    }
    fmt::print("{:<34} {:8.0f} ms, {} topics, {:.0f} MiB of memory\n", "open after close",
               seconds_since(begin) * 1e3, opened->tails.size(),
               static_cast<double>(resident_bytes() - before) / 1048576);
    ReadRequest rare = after("plant0.hall0.sensor0", 0);
    rare.what = ReadRequest::What::after_offset;
    for (const HistoryStore::Tail& tail : opened->tails) {
      if (tail.topic == rare.pattern.str())
        rare.offset = tail.offset - std::min<std::uint64_t>(tail.offset, 10);
    }
    drop_from_cache(directory);
    time_replay("the last 10 of one topic, cold", *store, rare);
    time_replay("the last 10 of one topic", *store, rare);
    time_replay("replay of one topic", *store, after("plant0.hall0.sensor0", 0));
    time_replay("replay of everything", *store, after(">", 0));
    time_replay("replay of a 17th of the topics", *store, after("plant1.>", 0));
    ReadRequest recent = after(">", 0);
    recent.what = ReadRequest::What::since_time;
    recent.since_ns = static_cast<std::int64_t>(events - events / 100) * 10'000;
    time_replay("replay since a time (last 1 %)", *store, recent);
    ReadRequest values = after(">", 0);
    values.what = ReadRequest::What::retained;
    time_replay("all values", *store, values);
  }
  {
    // Default limits: the cleaner works meanwhile.
    std::filesystem::remove_all(directory);
    HistoryLimits limits;
    limits.otherwise.history_events = std::max<std::size_t>(rate_events / topics / 10, 1);
    limits.bytes_max = std::size_t{1} << 50;
    FileHistory store(options(StoreSync::interval, limits));
    (void)store.open(1);
    Source source(topics);
    fill("append, a tenth stays in history", store, source, rate_events);
    while (store.maintain()) {
    }
    const auto figures = store.figures();
    fmt::print("{:<34} {} MB on disk, {} MB written by the cleaner\n", "", figures.bytes / 1'000'000,
               figures.cleaned_bytes / 1'000'000);
  }
  if (argc < 2) std::filesystem::remove_all(directory);
}
