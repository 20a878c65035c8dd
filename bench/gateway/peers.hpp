#pragma once
// The servers that are compared: how to start them, publish to them and subscribe.

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

/// One server under test, with its own kind of publisher. Lives on one thread, except publish() and flush(),
/// which another thread may call. Its processes end with it.
class Peer {
 public:
  virtual ~Peer() = default;
  [[nodiscard]] virtual std::uint16_t port() const = 0;
  /// The bytes that a client sends to subscribe to these topics, and the size of the server's reply.
  [[nodiscard]] virtual std::string request(const std::vector<std::string>& topics) const = 0;
  [[nodiscard]] virtual std::size_t reply_bytes(const std::vector<std::string>& topics) const = 0;
  /// For topics of the same length.
  [[nodiscard]] virtual Framing framing(std::string_view topic) const = 0;
  /// Queues or sends an event. Blocks while the server accepts no more.
  virtual void publish(std::string_view topic, std::string_view payload) = 0;
  virtual void flush() = 0;
  /// CPU time of all processes of the server.
  [[nodiscard]] std::chrono::nanoseconds cpu_time() const;
  /// User memory of the process that the clients are connected to.
  [[nodiscard]] std::size_t memory_bytes() const;

 protected:
  [[nodiscard]] virtual std::vector<pid_t> processes() const = 0;  // first the one with the clients
};

using MakePeer = std::function<std::unique_ptr<Peer>(std::size_t clients)>;

/// No protocol: every connection gets every event. Waits for `clients` connections, then sends each batch
/// unchanged to one after the other.
std::unique_ptr<Peer> make_raw(std::size_t clients);
/// Debian's redis-server, without persistence and without limits on the backlog of a slow subscriber.
std::unique_ptr<Peer> make_redis(std::size_t clients);
/// A broker and a gateway with their default configuration, and the publisher library.
std::unique_ptr<Peer> make_backplane(std::size_t clients);
/// Both in one process (`backplane serve`).
std::unique_ptr<Peer> make_serve(std::size_t clients);

/// The same, with clients of another protocol or format, which all subscribe to one topic.
enum class Speech { line_json, sse, websocket };
std::unique_ptr<Peer> make_backplane_for(Speech speech);

/// Whether redis-server is installed.
[[nodiscard]] bool has_redis();

}  // namespace backplane::bench
