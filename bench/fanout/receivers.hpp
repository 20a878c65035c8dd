#pragma once
// The clients of a measurement. One thread reads from all of them.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "core/process/descriptor.hpp"

namespace backplane::bench {

/// Connects `count` sockets to its own listener, and reads from all of them on one epoll thread. It reports
/// when the expected number of bytes has arrived, and ends the program if more arrive.
class Receivers {
 public:
  explicit Receivers(std::size_t count);
  /// @returns `count` connections: the client's end, and the server's, which does not block and has no Nagle
  /// delay
  [[nodiscard]] static std::vector<std::pair<Descriptor, Descriptor>> connect(std::size_t count);
  ~Receivers();
  Receivers(const Receivers&) = delete;
  Receivers& operator=(const Receivers&) = delete;

  /// The server's ends of all connections. Call it once.
  [[nodiscard]] std::vector<Descriptor> take_server_ends();

  /// Makes arrived_fd() readable when `bytes` more have arrived, over all clients. Call it before they are
  /// sent.
  void expect(std::uint64_t bytes);
  [[nodiscard]] int arrived_fd() const noexcept { return arrived_.get(); }
  void clear_arrived() const;
  /// Waits for the expected bytes without using CPU time.
  void wait() const;

 private:
  void run();

  Descriptor epoll_;
  Descriptor arrived_;
  Descriptor stop_;
  std::vector<Descriptor> clients_;
  std::vector<Descriptor> server_ends_;
  std::atomic<std::uint64_t> expected_{0};
  std::uint64_t received_{0};
  std::thread thread_;
};

}  // namespace backplane::bench
