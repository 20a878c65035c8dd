#pragma once
// One publisher, one SUB or several, and a process between them.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "core/zmq/socket.hpp"

namespace backplane::bench {

struct PairOutcome {
  double events_a_second{};
  double cpu_ns_an_event{};       ///< of the process in the middle, from its start to its end
  double busy_cpu_ns_an_event{};  ///< the same without its start and end
  std::uint64_t received{};       ///< by the subscriber that received fewest
};

// libzmq tells the writer of a queue how far it has been read once per half of its high-water mark, so only
// that half is certain to be free.
inline constexpr std::uint64_t pair_window_default = 4'096;

struct PairLoad {
  std::uint64_t events{};
  std::uint64_t window{pair_window_default};  ///< maximum number of events in transit; 0: no limit
  std::size_t subscribers{1};
  std::size_t topics{1};  ///< in turn
  // With CURVE. nullptr: without.
  const mq::CurveClient* publisher_keys{};
  const mq::CurveClient* subscriber_keys{};
};

/// Sends Events with a 128-byte payload, on topics of 12 bytes and in two frames, through a process that
/// prints a ready line with its endpoints (see Middle), to SUB sockets that receive all of them.
PairOutcome run_pair(const std::function<void(int ready_fd)>& middle, const PairLoad& load);
/// The same with one topic and one subscriber.
PairOutcome run_pair(const std::function<void(int ready_fd)>& middle, std::uint64_t events,
                     std::uint64_t window);

/// For such a process: runs libzmq's own proxy, with the broker's high-water marks.
void run_proxy(int ready_fd);

}  // namespace backplane::bench
