// Real processes that are killed while they write.

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/store/file_history.hpp"
#include "core/log/log.hpp"
#include "tests/broker/state/stored_events.hpp"
#include "tests/broker/store/temporary_directory.hpp"

namespace backplane::broker {
namespace {

using testing::Numbering;
using testing::Stamped;

/// What the writing process has promised, in memory that outlives it.
class Promised {
 public:
  Promised()
      : position_(::new (::mmap(nullptr, sizeof(std::atomic<std::uint64_t>), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0)) std::atomic<std::uint64_t>{0}) {}
  ~Promised() { ::munmap(position_, sizeof *position_); }
  Promised(const Promised&) = delete;
  Promised& operator=(const Promised&) = delete;
  std::atomic<std::uint64_t>& position() { return *position_; }

 private:
  std::atomic<std::uint64_t>* position_;
};

FileHistoryOptions options_for(const std::string& path, StoreSync sync) {
  FileHistoryOptions options;
  options.path = path;
  options.backplane = "test";
  options.sync = sync;
  options.limits.otherwise.history_events = 1000;
  options.limits.bytes_max = std::size_t{1} << 40;
  options.segment_bytes = 200'000;
  return options;
}

// Appends until it is killed.
[[noreturn]] void write_forever(const FileHistoryOptions& options, std::atomic<std::uint64_t>& promised) {
  FileHistory store(options);
  const auto opened = store.open(8);
  if (!opened) ::_exit(1);
  Numbering numbering;
  numbering.restore(*opened);
  std::vector<std::uint64_t> last_of_ticket{opened->position};
  for (;;) {
    std::vector<Stamped> events;
    std::vector<HistoryAppend> batch;
    for (int i = 0; i < 8; ++i) events.push_back(numbering.next("t" + std::to_string(i), 0));
    for (const Stamped& event : events) batch.push_back(event.append());
    for (;;) {
      const HistoryStore::Accepted result = store.append(batch).result;
      if (result == HistoryStore::Accepted::failed) ::_exit(2);
      if (result == HistoryStore::Accepted::accepted) break;
      pollfd fd{.fd = store.progress_fd(), .events = POLLIN, .revents = 0};
      (void)::poll(&fd, 1, 1000);
      promised = last_of_ticket[store.progress().written];
    }
    last_of_ticket.push_back(numbering.position());
    promised = last_of_ticket[store.progress().written];
    if (numbering.position() % 8000 == 0) (void)store.maintain();
  }
}

class FileHistoryKill : public ::testing::TestWithParam<StoreSync> {};

TEST_P(FileHistoryKill, AKilledProcessLosesNothingThatItReportedAsWritten) {
  log::set_level(log::Level::off);
  const testing::TemporaryDirectory directory;
  const FileHistoryOptions options = options_for(directory.path() + "/store", GetParam());
  std::uint64_t last = 0;
  for (unsigned round = 0; round < 15; ++round) {
    SCOPED_TRACE(round);
    Promised promised;
    const std::uint64_t enough = last + 1 + round * 997 % 3000;
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) write_forever(options, promised.position());
    while (promised.position() < enough && ::waitpid(child, nullptr, WNOHANG) == 0) ::usleep(200);
    ASSERT_EQ(::kill(child, SIGKILL), 0) << "it has ended by itself";
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);

    FileHistory store(options);
    const auto opened = store.open(9);
    ASSERT_TRUE(opened) << opened.error().text;
    ASSERT_TRUE(round == 0 || opened->continues);
    ASSERT_GE(opened->position, promised.position());
    ASSERT_EQ(opened->tails.size(), 8u);
    ASSERT_EQ(store.figures().damaged_ranges, 0u);
    const std::uint64_t after = opened->position - std::min<std::uint64_t>(opened->position, 500);
    ReadRequest request = testing::after_position(">", after);
    std::uint64_t expected = after;
    for (;;) {
      (void)store.start_read(request);
      std::optional<ReadSlice> slice;
      while (!(slice = store.next_slice())) {
        pollfd fd{.fd = store.progress_fd(), .events = POLLIN, .revents = 0};
        (void)::poll(&fd, 1, 1000);
        (void)store.progress();
      }
      for (const StoredEvent& event : slice->events) ASSERT_EQ(testing::stamp_of(event).position, ++expected);
      if (slice->end != ReadSlice::End::more) break;
      request.cursor = slice->cursor;
    }
    ASSERT_EQ(expected, opened->position);
    last = opened->position;
  }
}

INSTANTIATE_TEST_SUITE_P(Syncs, FileHistoryKill,
                         ::testing::Values(StoreSync::always, StoreSync::interval, StoreSync::off));

}  // namespace
}  // namespace backplane::broker
