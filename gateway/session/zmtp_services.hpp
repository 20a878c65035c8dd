#pragma once
// What the sessions of ZeroMQ clients share.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/zmtp/connection.hpp"
#include "core/zmtp/fault.hpp"

namespace backplane::gateway {

/// The counters at one moment.
struct ZmtpCounted {
  std::uint64_t subscribers{};  ///< clients that have become SUB or XSUB
  std::uint64_t publishers{};   ///< clients that have become PUB or XPUB
  std::array<std::uint64_t, zmtp::fault_names.size()> faults{};
};

/// Any thread. All workers of a backplane count here; none of this is frequent.
class ZmtpCounters {
 public:
  void count_subscriber() noexcept { ++subscribers_; }
  void count_publisher() noexcept { ++publishers_; }
  void count_fault(zmtp::Fault fault) noexcept { ++faults_[static_cast<std::size_t>(fault)]; }
  [[nodiscard]] ZmtpCounted read() const noexcept {
    ZmtpCounted counted{subscribers_.load(), publishers_.load(), {}};
    for (std::size_t i = 0; i < faults_.size(); ++i) counted.faults[i] = faults_[i].load();
    return counted;
  }

 private:
  std::atomic<std::uint64_t> subscribers_{0};
  std::atomic<std::uint64_t> publishers_{0};
  std::array<std::atomic<std::uint64_t>, zmtp::fault_names.size()> faults_{};
};

/// Outlives the sessions. `options` do not change.
struct ZmtpServices {
  zmtp::Connection::Options options;
  ZmtpCounters counters{};
};

}  // namespace backplane::gateway
