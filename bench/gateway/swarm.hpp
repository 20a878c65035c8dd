#pragma once
// The clients of a server under test: many TCP connections, read on one thread.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "fanout/descriptor.hpp"

namespace backplane::bench {

/// What is published: its number among those that one client gets, and when it was sent.
inline constexpr std::size_t payload_bytes = 128;

/// Writes such a payload: digits, digits, padding. `out` has payload_bytes.
void write_payload(std::uint64_t number, std::int64_t time_ns, char* out) noexcept;

/// How a server's messages look on the wire. All of one run have the same length.
struct Framing {
  std::size_t message_bytes{};
  std::size_t payload_at{};
};

/// Many clients of one server. Counts what each of them gets, and looks at the last message of each read:
/// its number must be the client's count, so what is lost, doubled or torn shows. Lives on its owner's
/// thread; reads on one of its own.
class Swarm {
 public:
  struct Plan {
    std::uint16_t port{};
    std::size_t clients{};
    std::size_t stalled{};  ///< more clients, which ask as the others do and then read nothing
    /// What client number n says first, and how many bytes the server answers to that.
    std::function<std::string(std::size_t n)> request;
    std::function<std::size_t(std::size_t n)> answer_bytes;
    Framing framing;
  };

  /// Connects all and waits for their answers. Ends the program, with a message, where one is refused.
  explicit Swarm(Plan plan);
  ~Swarm();
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;

  /// Messages so far, over all clients that read. Any thread.
  [[nodiscard]] std::uint64_t delivered() const noexcept {
    return delivered_.load(std::memory_order_relaxed);
  }
  /// Waits for so many, or until nothing has come for `patience`. @returns whether they have come.
  bool wait_delivered(std::uint64_t count, std::chrono::seconds patience) const;
  /// When the last read ended. After wait_delivered().
  [[nodiscard]] std::chrono::steady_clock::time_point last_at() const;
  /// Reads that did not end as they must. 0, or the figures mean nothing.
  [[nodiscard]] std::uint64_t faults() const noexcept { return faults_.load(std::memory_order_relaxed); }
  /// Microseconds from sending to reading, one value a read; ends the reading. Sorted.
  std::vector<double> take_latencies();

 private:
  struct Client {
    fanout::Descriptor fd;
    std::uint64_t answer_left{};
    std::uint64_t bytes{};  // of messages
  };

  void connect_all();
  void read_answers();
  void run();
  void read(Client& client);
  void look_at(const Client& client, const char* data, std::size_t size);

  Plan plan_;
  fanout::Descriptor epoll_;
  fanout::Descriptor stop_;
  std::vector<Client> clients_;  // those that read, then the stalled ones
  std::vector<char> buffer_;
  std::vector<double> latencies_;
  std::uint64_t read_messages_{};
  std::atomic<std::uint64_t> delivered_{0};
  std::atomic<std::uint64_t> faults_{0};
  std::atomic<std::int64_t> last_ns_{0};
  std::thread thread_;
};

}  // namespace backplane::bench
