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

#include "core/process/descriptor.hpp"

namespace backplane::bench {

/// What is published: its number among those that one client gets, and when it was sent.
inline constexpr std::size_t payload_bytes = 128;

/// Such a payload: digits, digits, padding.
class Payload {
 public:
  void set_number(std::uint64_t number) noexcept;
  void set_time(std::int64_t time_ns) noexcept;
  [[nodiscard]] std::string_view bytes() const noexcept { return bytes_; }

 private:
  std::string bytes_ = std::string(payload_bytes, 'x');
};

/// How a server's messages look on the wire. All of one run have the same length, or something in common.
struct Framing {
  std::size_t message_bytes{};
  std::size_t payload_at{};
  /// Where they differ in length (message_bytes is 0): a byte that each has once, before its payload, and
  /// what stands right before that.
  char once{};
  std::string_view before_payload{};
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
    Descriptor fd;
    std::uint64_t answer_left{};
    std::uint64_t bytes{};     // of messages
    std::uint64_t messages{};  // where they differ in length
  };

  void connect(std::size_t first, std::size_t last);
  void read_answers(std::size_t first, std::size_t last);
  void run();
  void read(Client& client);
  void look_at(const Client& client, const char* data, std::size_t size);
  void count(Client& client, std::string_view data);
  void look_at_payload(const char* payload, std::uint64_t number);

  Plan plan_;
  Descriptor epoll_;
  Descriptor stop_;
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
