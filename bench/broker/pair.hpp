#pragma once
// One publisher, one SUB, and a process between them.

#include <cstdint>
#include <functional>

namespace backplane::bench {

struct PairOutcome {
  double events_a_second{};
  double cpu_ns_an_event{};  ///< of the process in the middle
  std::uint64_t received{};
};

// libzmq tells the writer of a queue how far it has been read once per half of its high-water mark, so only
// that half is certain to be free.
inline constexpr std::uint64_t pair_window_default = 4'096;

/// Sends `events` Events with a 128-byte payload, on a topic of 12 bytes and in two frames, through a process
/// that prints a ready line with its endpoints (see Middle), to one SUB socket.
/// @param window  maximum number of events in transit; 0: no limit
PairOutcome run_pair(const std::function<void(int ready_fd)>& middle, std::uint64_t events,
                     std::uint64_t window);

/// For such a process: runs libzmq's own proxy, with the broker's high-water marks.
void run_proxy(int ready_fd);

}  // namespace backplane::bench
