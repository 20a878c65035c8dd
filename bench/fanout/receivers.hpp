#pragma once
// The clients of a measurement: one thread that reads from all of them.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "core/process/descriptor.hpp"

namespace backplane::bench {

/// Connects `count` sockets to a listener of its own and reads whatever comes, on one epoll thread. It says
/// when so many bytes have come as were expected, and ends the program where more come.
class Receivers {
 public:
  explicit Receivers(std::size_t count);
  /// So many connections: the client's end, and the server's, which is non-blocking and has no Nagle's delay.
  [[nodiscard]] static std::vector<std::pair<Descriptor, Descriptor>> connect(std::size_t count);
  ~Receivers();
  Receivers(const Receivers&) = delete;
  Receivers& operator=(const Receivers&) = delete;

  /// The server's ends, non-blocking; to be taken once.
  [[nodiscard]] std::vector<Descriptor> take_server_ends();

  /// arrived_fd() becomes readable when `bytes` more have come, over all clients. Before they are sent.
  void expect(std::uint64_t bytes);
  [[nodiscard]] int arrived_fd() const noexcept { return arrived_.get(); }
  void clear_arrived() const;
  /// Waits for them without using CPU time.
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
