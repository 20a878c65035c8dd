#pragma once
// Counters of MQTT clients.

#include <atomic>
#include <cstdint>

namespace backplane::gateway::mqtt {

/// The counters at one moment.
struct Counted {
  std::uint64_t connects_3{};  ///< connections of MQTT 3.1.1 that were accepted
  std::uint64_t connects_5{};  ///< the same of 5.0
  std::uint64_t refused{};     ///< CONNECTs that were refused
  // Connections closed because of what the client sent.
  std::uint64_t malformed{};
  std::uint64_t protocol_errors{};
  std::uint64_t too_large{};
  std::uint64_t other_faults{};
  std::uint64_t taken_over{};     ///< sessions that another connection took over
  std::uint64_t not_delivered{};  ///< messages above a client's maximum packet size
  std::uint64_t wills{};          ///< wills that were published
};

/// Any thread. All workers of a backplane count here.
struct Counters {
  std::atomic<std::uint64_t> connects_3{0};
  std::atomic<std::uint64_t> connects_5{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> malformed{0};
  std::atomic<std::uint64_t> protocol_errors{0};
  std::atomic<std::uint64_t> too_large{0};
  std::atomic<std::uint64_t> other_faults{0};
  std::atomic<std::uint64_t> taken_over{0};
  std::atomic<std::uint64_t> not_delivered{0};
  std::atomic<std::uint64_t> wills{0};

  [[nodiscard]] Counted read() const noexcept {
    return {connects_3.load(),      connects_5.load(), refused.load(),      malformed.load(),
            protocol_errors.load(), too_large.load(),  other_faults.load(), taken_over.load(),
            not_delivered.load(),   wills.load()};
  }
};

}  // namespace backplane::gateway::mqtt
