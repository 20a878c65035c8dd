// An event takes neither an allocation nor a lock in a gateway. A program of its own, because it counts both.
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <pthread.h>

#include "tests/allocations/counted_new.hpp"
#include "tests/gateway/stage.hpp"

namespace {

std::atomic<std::uint64_t> locks{0};

}  // namespace

// The linker's --wrap replaces pthread_mutex_lock by this, and determines the names.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" int __real_pthread_mutex_lock(pthread_mutex_t* mutex);
extern "C" int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex);
extern "C" int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex) {
  ++locks;
  return __real_pthread_mutex_lock(mutex);
}
// NOLINTEND(bugprone-reserved-identifier)

namespace backplane::gateway {
namespace {

class GatewaySteadyStateTest : public Stage {};

TEST_F(GatewaySteadyStateTest, AnEventTakesNoAllocationAndNoLockFromTheFollowerToTheSockets) {
  constexpr std::size_t topics = 200;
  constexpr std::size_t warm = 40 * topics;
  constexpr std::size_t counted = 100 * topics;
  come_up();
  std::vector<Peer> peers;
  for (int i = 0; i < 60; ++i) {
    Peer& peer = peers.emplace_back(connect());
    const char* const format = i % 3 == 0 ? "text" : i % 3 == 1 ? "json" : "proto";
    std::string commands;
    for (int t = 0; t < 5; ++t) commands += "SUB t." + std::to_string((i * 7 + t) % 200) + ".x\n";
    commands += "SUB t.*." + std::string(i % 2 == 0 ? "x" : "y") + "\nSUB t.>\nFORMAT " + format + "\n";
    send(peer, commands);
    peer.stream->output.reserve(16u << 20);
  }
  prove();
  std::vector<NumberedEvents::Event> events;
  for (std::size_t i = 0; i < warm + counted; ++i) {
    events.push_back(
        broker_.publish("t." + std::to_string(i % topics) + ".x", "a text of some length, as events have"));
  }
  std::uint64_t allocations = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (i == warm) {
      allocations = testing::allocations;
      locks = 0;
    }
    hub_.on_event(events[i].delivery());
    if (i % 16 != 15) continue;
    log_.publish();
    shard_.read_log(now_);
    do shard_.flush(now_);
    while (shard_.is_dirty());
    // Clients that have read everything release their segments.
    if (i % 1024 == 1023) {
      for (Peer& peer : peers) peer.stream->output.clear();
    }
  }
  EXPECT_EQ(testing::allocations - allocations, 0u);
  EXPECT_EQ(locks, 0u);
  EXPECT_EQ(shard_.ledger().delivered, peers.size() * events.size());
}

}  // namespace
}  // namespace backplane::gateway
