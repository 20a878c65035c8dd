#pragma once
// The servers that are compared: how each is started, published to and listened to.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "bench/gateway/swarm.hpp"

namespace backplane::bench {

/// One server under test with a publisher of its own kind. Lives on one thread, but for publish() and
/// flush(), which another may call. Its processes end with it.
class Peer {
 public:
  virtual ~Peer() = default;
  [[nodiscard]] virtual std::uint16_t port() const = 0;
  /// What a client says to get these topics, and how many bytes the server answers to that.
  [[nodiscard]] virtual std::string request(const std::vector<std::string>& topics) const = 0;
  [[nodiscard]] virtual std::size_t answer_bytes(const std::vector<std::string>& topics) const = 0;
  /// Of topics of the same length.
  [[nodiscard]] virtual Framing framing(std::string_view topic) const = 0;
  /// Queues an event, or sends it; blocks where the server takes no more.
  virtual void publish(std::string_view topic, std::string_view payload) = 0;
  virtual void flush() = 0;
  /// CPU time of all processes of the server.
  [[nodiscard]] std::chrono::nanoseconds cpu_time() const;
  /// User memory of the process that the clients are connected to.
  [[nodiscard]] std::size_t memory_bytes() const;

 protected:
  [[nodiscard]] virtual std::vector<pid_t> processes() const = 0;  // the one with the clients first
};

using MakePeer = std::function<std::unique_ptr<Peer>(std::size_t clients)>;

/// No protocol at all: whoever connects gets whatever is published. Waits for `clients` connections, then
/// sends each batch as it came to one after the other.
std::unique_ptr<Peer> make_raw(std::size_t clients);
/// Debian's redis-server, without persistence and without limits on what a slow subscriber may pile up.
std::unique_ptr<Peer> make_redis(std::size_t clients);
/// A broker and a gateway with everything switched on that is by default, and the publisher library.
std::unique_ptr<Peer> make_backplane(std::size_t clients);

/// The same, with clients that speak otherwise; they all ask for one topic.
enum class Speech { line_json, sse, websocket };
std::unique_ptr<Peer> make_backplane_for(Speech speech);

/// Whether the program is there to be measured.
[[nodiscard]] bool has_redis();

}  // namespace backplane::bench
