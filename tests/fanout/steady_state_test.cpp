// In a steady state, an event costs no allocation and no lock. This is a program of its own, because it
// counts all allocations and locks.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include "fanout/shard.hpp"

namespace {

std::atomic<std::uint64_t> allocations{0};
std::atomic<std::uint64_t> locks{0};

void* allocate(std::size_t size, std::size_t alignment) {
  ++allocations;
  void* const memory = alignment <= alignof(std::max_align_t)
                           ? std::malloc(size)
                           : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc{};
  return memory;
}

}  // namespace

void* operator new(std::size_t size) {
  return allocate(size, 1);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

// With --wrap, the linker replaces pthread_mutex_lock by this function. It prescribes the names.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" int __real_pthread_mutex_lock(pthread_mutex_t* mutex);
extern "C" int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex);
extern "C" int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex) {
  ++locks;
  return __real_pthread_mutex_lock(mutex);
}
// NOLINTEND(bugprone-reserved-identifier)

namespace backplane::fanout {
namespace {

/// Accepts `pace` bytes after each give_room().
class PacedStream final : public Stream {
 public:
  explicit PacedStream(std::size_t pace) : pace_(pace), room_(pace) {}
  ssize_t read(std::span<char>) noexcept override {
    errno = EAGAIN;
    return -1;
  }
  ssize_t write(std::span<const iovec> pieces) noexcept override {
    std::size_t size = 0;
    for (const iovec& piece : pieces) size += piece.iov_len;
    const std::size_t taken = std::min(size, room_);
    room_ -= taken;
    if (taken > 0) return static_cast<ssize_t>(taken);
    errno = EAGAIN;
    return -1;
  }
  bool end_output() noexcept override { return true; }
  void give_room() noexcept { room_ = pace_; }

 private:
  std::size_t pace_;
  std::size_t room_;
};

class TerseHandler final : public Handler {
 public:
  void on_bytes(std::string_view) override {}
  void on_input_end() override {}
  void report_losses(std::span<const Loss> losses, std::string& out) override {
    out.append(losses.size(), '!');
    losses_reported += losses.size();
  }
  void say_goodbye(std::string_view) override {}
  static inline std::uint64_t losses_reported{};
};

TEST(SteadyState, AnEventCostsNoAllocationAndNoLock) {
  constexpr std::uint32_t topics = 8;
  Log log({.bytes_max = 64u << 20}, 1);
  ShardOptions options;
  options.client.backlog_bytes_max = 200'000;
  TimerWheel::Clock::time_point now{std::chrono::hours{1}};
  Shard shard(options, log, 0, now);
  for (std::uint32_t topic = 0; topic < topics; ++topic) {
    shard.set_route(RouteId{topic}, {AudienceId{topic}, AudienceId{topics}});
  }
  shard.set_interval(AudienceId{topics}, std::chrono::hours{1});
  std::vector<PacedStream*> streams;
  for (std::uint64_t id = 1; id <= 100; ++id) {
    // Every tenth client accepts less than comes: it loses messages, and gets reports.
    auto stream = std::make_unique<PacedStream>(id % 10 == 0 ? 3001 : 9000 + id * 100);
    streams.push_back(stream.get());
    Client& client = shard.add(ClientId{id}, std::move(stream));
    client.set_handler(std::make_unique<TerseHandler>());
    if (id % 20 == 0) client.set_policy(Policy::latest);
    for (std::uint32_t topic = 0; topic < topics; ++topic) {
      if (id % 7 != topic) shard.join(ClientId{id}, AudienceId{id % 13 == 0 ? topics : topic});
    }
  }
  const std::string line(150, '.');
  std::vector<std::uint64_t> offsets(topics);
  const auto round = [&] {
    for (std::uint32_t i = 0; i < 64; ++i) {
      const std::uint32_t topic = i * i % topics;
      log.append(line, {TopicId{topic}, RouteId{topic}, ++offsets[topic]});
    }
    log.publish();
    shard.read_log(now);
    shard.flush(now);
    for (std::uint64_t id = 1; id <= 100; ++id) {
      streams[id - 1]->give_room();
      shard.find(ClientId{id})->on_writable();
    }
    shard.flush(now);
  };
  for (int i = 0; i < 1500; ++i) round();  // until the backlogs have their largest size
  const std::uint64_t allocations_before = allocations.load();
  const std::uint64_t locks_before = locks.load();
  const std::uint64_t reported_before = TerseHandler::losses_reported;
  for (int i = 0; i < 300; ++i) round();
  const std::uint64_t allocated = allocations.load() - allocations_before;
  const std::uint64_t locked = locks.load() - locks_before;
  EXPECT_EQ(allocated, 0u);
  EXPECT_EQ(locked, 0u);
  EXPECT_GT(TerseHandler::losses_reported, reported_before);
  EXPECT_GT(shard.ledger().conflated, 0u);
  EXPECT_GT(shard.ledger().delivered, 1'000'000u);
}

TEST(SteadyState, AllocationsAndLocksAreCounted) {
  const std::uint64_t allocations_before = allocations.load();
  const std::uint64_t locks_before = locks.load();
  Mailbox<int> mailbox;
  mailbox.put(1);
  EXPECT_GT(allocations.load(), allocations_before);
  EXPECT_GT(locks.load(), locks_before);
}

}  // namespace
}  // namespace backplane::fanout
