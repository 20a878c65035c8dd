#pragma once
// ZeroMQ sockets with the options that we need, each owned by one thread.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <zmq.hpp>

#include "core/error/error.hpp"

namespace backplane::mq {

/// A ZeroMQ context. Outlives its sockets, which may live on any threads.
class Context {
 public:
  /// @param io_threads 0 is enough for inproc alone; a broker uses 2, see SocketOptions::io_thread.
  explicit Context(int io_threads = 1);

  [[nodiscard]] zmq::context_t& raw() noexcept { return context_; }

 private:
  zmq::context_t context_;
};

/// The keys of a socket that binds with CURVE: only peers that know its public key, and that the ZAP handler
/// of this domain admits, can connect. Without a handler, all can that know it. Messages of a connection that
/// it has admitted have the properties User-Id and __fd. Not for inproc, which has no security.
struct CurveServer {
  std::array<std::uint8_t, 32> secret_key;
  std::string zap_domain;
};

/// The keys of a socket that connects with CURVE, and of the server that it expects.
struct CurveClient {
  std::array<std::uint8_t, 32> secret_key;
  std::array<std::uint8_t, 32> public_key;
  std::array<std::uint8_t, 32> server_key;
};

/// Options that are set before a socket binds or connects. Other options keep libzmq's defaults.
/// There are no ZeroMQ heartbeats: if a peer goes away while its messages are unread at the receive_hwm, a
/// PING among them makes libzmq 4.3.4 abort the process (`!_io_error`, stream_engine_base.cpp), whichever
/// side has asked for heartbeats. TCP's keepalive is always on instead: the kernel finds out within about 6 s
/// that a peer's machine is gone, but not that a process is stopped, nor while sent data is unacknowledged.
struct SocketOptions {
  /// Messages per peer; 0: no limit. Use 0 on SUB and XSUB: a limit loses subscriptions.
  int send_hwm = 1000;
  /// The same for receiving. Use 0 on XPUB: a limit loses subscriptions.
  int receive_hwm = 1000;
  std::chrono::milliseconds linger{0};  ///< how long closing waits for unsent messages; -1 ms: for ever
  std::optional<std::chrono::milliseconds> send_timeout{};  ///< none: blocks without limit
  std::int64_t max_message_bytes = -1;  ///< libzmq closes the connection above it; -1: no limit
  bool xpub_nodrop = false;             ///< PUB and XPUB: a full peer blocks or gives EAGAIN
  bool xpub_verbose = false;            ///< XPUB: duplicate subscriptions are received, too
  bool xpub_verboser = false;           ///< XPUB: so are all unsubscriptions, also at the end of a connection
  /// For sockets that bind: closes connections of peers that do not speak ZMTP 3. Otherwise libzmq would take
  /// the first bytes of such a peer (for example an HTTP request) for frames of ZMTP 1.0.
  bool zmtp3_only = false;
  std::optional<int> io_thread{};  ///< index of the context's I/O thread (ZMQ_AFFINITY)
  /// A TCP connection ends if the peer's kernel takes nothing of what waits to be sent for this long, because
  /// the path is dead or the peer does not read; 0: only when TCP gives up a dead path, after about 15
  /// minutes.
  std::chrono::milliseconds send_stall_max{0};
  std::optional<CurveServer> curve_server{};
  std::optional<CurveClient> curve_client{};
  /// -1 ms: never reconnects by itself. Do not use that on a SUB: libzmq then aborts (`!_more`, fq.cpp) if
  /// messages are unread when a connection ends.
  std::chrono::milliseconds reconnect_interval{100};
  std::chrono::milliseconds reconnect_interval_max{1000};
};

/// A ZeroMQ socket that one thread owns: the first that uses it, until release(). Use from another thread
/// fails a CHECK. No call fails because a signal interrupts it. Move-only; closes on destruction.
class Socket {
 public:
  /// Throws zmq::error_t if libzmq cannot create it (too many sockets, a bad option).
  Socket(Context& context, zmq::socket_type type, const SocketOptions& options);
  Socket(Socket&&) = default;
  Socket& operator=(Socket&&) = default;

  /// `tcp://localhost:PORT` binds both loopback addresses; without IPv6, 127.0.0.1 alone.
  /// @returns the endpoint that is bound, for localhost the one of 127.0.0.1 (port 0 picks a free port), or
  ///          an error that names it.
  Result<std::string> bind(const std::string& endpoint);
  /// Returns at once; the connection is made in the background, now or when the other side is there.
  Result<void> connect(const std::string& endpoint);
  /// Ends the connection to an endpoint of connect(), and discards what has been received from it and is
  /// unread. Does nothing if libzmq has already dropped the endpoint.
  void disconnect(const std::string& endpoint);

  /// The socket, for options and polling. The calling thread must be the owner.
  [[nodiscard]] zmq::socket_t& raw() {
    check_owner();
    return socket_;
  }

  /// Receives one frame without blocking. @returns whether there was one.
  [[nodiscard]] bool receive(zmq::message_t& frame);
  /// Discards the remaining frames of the message whose frame was received last.
  void skip_rest(const zmq::message_t& last_frame);
  /// Sends one frame. @returns false if the socket would block (or its send_timeout has passed), or if a
  /// ROUTER's peer has gone.
  [[nodiscard]] bool send(std::string_view frame, zmq::send_flags flags = zmq::send_flags::none);
  [[nodiscard]] bool send(zmq::message_t& frame, zmq::send_flags flags = zmq::send_flags::none);

  /// Whether receive() would return a frame now. Also re-arms fd().
  [[nodiscard]] bool readable();
  /// For poll() and epoll, edge-triggered: call readable() after a wakeup, and again before sleeping. Sending
  /// on the socket consumes the edge as well.
  [[nodiscard]] int fd();

  /// Releases the ownership: the next thread that uses the socket owns it.
  void release() noexcept { owner_ = std::thread::id{}; }

 private:
  void check_owner();
  int events();
  void allow_ipv6_of(const std::string& endpoint);
  Result<std::string> bind_one(const std::string& endpoint);
  Result<std::string> bind_localhost(const std::string& port);
  zmq::socket_t socket_;
  std::thread::id owner_{};
};

/// Events of a socket's connections, in order.
enum class ConnectionEvent { none, accepted, opened, connected, disconnected, other };

/// How the ZeroMQ handshake of a connection failed, as far as libzmq knows it.
struct HandshakeFailure {
  enum class Kind : std::uint8_t {
    none,
    closed,     ///< the peer closed the connection during the handshake
    mechanism,  ///< the peer uses another security mechanism (CURVE or none)
    crypto,     ///< the peer's keys are not the expected ones
    refused,    ///< the peer's ZAP handler refused the keys, with `status`
    other,
  };
  Kind kind{Kind::none};
  int status{};
};

/// Watches the connections of one socket. Lives on the thread that owns the socket; destroy it before the
/// socket.
class Monitor {
 public:
  Monitor(Context& context, Socket& watched);
  ~Monitor();
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  /// The next event, without blocking. An outgoing connection is `opened` before the ZeroMQ handshake;
  /// `connected` comes after it. A connection that is refused or fails the handshake gives `disconnected`.
  [[nodiscard]] ConnectionEvent next();
  /// The descriptor that the last event was about, if it was `accepted`, `opened`, or `disconnected` because
  /// a connection was closed; else -1. libzmq owns it, and may have closed it already.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  /// The endpoint that the last event was about.
  [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }
  /// How the handshake failed, if that is what the last event, `disconnected`, was about. Another
  /// `disconnected` of the same connection, without this, usually follows.
  [[nodiscard]] HandshakeFailure failure() const noexcept { return failure_; }
  [[nodiscard]] int fd() { return events_.fd(); }
  [[nodiscard]] Socket& socket() noexcept { return events_; }

 private:
  Socket& watched_;
  Socket events_;
  int descriptor_{-1};
  HandshakeFailure failure_{};
  std::string endpoint_;
};

/// Checks that ZeroMQ can bind or connect to `endpoint`: tcp://HOST:PORT (IPv6 in brackets), ipc://PATH or
/// inproc://NAME. `where` begins the error.
Result<void> check_endpoint(std::string_view endpoint, std::string_view where);

}  // namespace backplane::mq
