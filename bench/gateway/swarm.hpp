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

/// The contents of an event: its number among those of one client, and when it was sent.
inline constexpr std::size_t payload_bytes = 128;

/// The payload of an event: digits, digits, padding.
class Payload {
 public:
  void set_number(std::uint64_t number) noexcept;
  void set_time(std::int64_t time_ns) noexcept;
  [[nodiscard]] std::string_view bytes() const noexcept { return bytes_; }

 private:
  std::string bytes_ = std::string(payload_bytes, 'x');
};

/// The form of a server's messages on the wire. All messages of a run have the same length, or a common mark.
struct Framing {
  std::size_t message_bytes{};
  std::size_t payload_at{};
  /// If lengths differ (message_bytes is 0): a byte that occurs once in each message, before its payload, and
  /// the text right before that byte.
  char once{};
  std::string_view before_payload{};
};

/// Many clients of one server. Counts the messages of each client, and checks the last message of each read:
/// its number must be the client's count, which reveals lost, duplicate and damaged messages. Lives on its
/// owner's thread; reads on a thread of its own.
class Swarm {
 public:
  struct Plan {
    std::uint16_t port{};
    std::size_t clients{};
    std::size_t stalled{};  ///< further clients, which subscribe like the others and then read nothing
    /// The first bytes that client n sends, and the size of the server's reply.
    std::function<std::string(std::size_t n)> request;
    std::function<std::size_t(std::size_t n)> reply_bytes;
    Framing framing;
  };

  /// Connects all clients and waits for their replies. Ends the program with a message if one is refused.
  explicit Swarm(Plan plan);
  ~Swarm();
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;

  /// Messages so far, of all clients that read. Any thread.
  [[nodiscard]] std::uint64_t delivered() const noexcept {
    return delivered_.load(std::memory_order_relaxed);
  }
  /// Waits for a number of messages, or until none has arrived for `patience`. @returns whether all have
  /// arrived.
  bool wait_delivered(std::uint64_t count, std::chrono::seconds patience) const;
  /// When the last read ended. Called after wait_delivered().
  [[nodiscard]] std::chrono::steady_clock::time_point last_at() const;
  /// Reads that ended with a wrong message. If not 0, the figures are meaningless.
  [[nodiscard]] std::uint64_t faults() const noexcept { return faults_.load(std::memory_order_relaxed); }
  /// Microseconds from sending to reading, one value per read, sorted. Ends the reading.
  std::vector<double> take_latencies();

 private:
  struct Client {
    Descriptor fd;
    std::uint64_t reply_left{};
    std::uint64_t bytes{};     // of messages
    std::uint64_t messages{};  // if lengths differ
  };

  void connect(std::size_t first, std::size_t last);
  void read_replies(std::size_t first, std::size_t last);
  void run();
  void read(Client& client);
  void look_at(const Client& client, const char* data, std::size_t size);
  void count(Client& client, std::string_view data);
  void look_at_payload(const char* payload, std::uint64_t number);

  Plan plan_;
  Descriptor epoll_;
  Descriptor stop_;
  std::vector<Client> clients_;  // first those that read, then the stalled ones
  std::vector<char> buffer_;
  std::vector<double> latencies_;
  std::uint64_t read_messages_{};
  std::atomic<std::uint64_t> delivered_{0};
  std::atomic<std::uint64_t> faults_{0};
  std::atomic<std::int64_t> last_ns_{0};
  std::thread thread_;
};

}  // namespace backplane::bench
