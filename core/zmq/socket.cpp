#include "core/zmq/socket.hpp"

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <fmt/format.h>
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/net/endpoint_addresses.hpp"

namespace backplane::mq {
namespace {

// libzmq handles its internal commands first in most of its calls, and a signal ends that with EINTR.
template <typename Call>
int uninterrupted(const Call& call) {
  int result = call();
  while (result < 0 && zmq_errno() == EINTR) result = call();
  return result;
}

void set_int(zmq::socket_t& socket, int option, int value) {
  if (zmq_setsockopt(socket.handle(), option, &value, sizeof value) != 0) throw zmq::error_t();
}

void set_key(zmq::socket_t& socket, int option, const std::array<std::uint8_t, 32>& key) {
  if (zmq_setsockopt(socket.handle(), option, key.data(), key.size()) != 0) throw zmq::error_t();
}

Error endpoint_error(std::string_view verb, const std::string& endpoint, int error) {
  const ErrorCode code = error == EINVAL || error == EPROTONOSUPPORT ? ErrorCode::invalid_argument
                         : error == EADDRINUSE                       ? ErrorCode::unavailable
                                                                     : ErrorCode::io;
  return Error{code, fmt::format("cannot {} {}: {}", verb, endpoint, zmq_strerror(error))};
}

// Whether a process listens on a path. libzmq would silently replace its socket there, and the process would
// never see a new peer again.
bool is_listened_on(std::string_view path) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path) return false;
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (probe < 0) return false;
  const int connected = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const bool is_full = connected != 0 && errno == EAGAIN;
  ::close(probe);
  return connected == 0 || is_full;
}

}  // namespace

Context::Context(int io_threads) : context_(io_threads) {
  // A gateway or a test may have thousands of sockets; the default is 1,023.
  context_.set(zmq::ctxopt::max_sockets, 65'535);
}

Socket::Socket(Context& context, zmq::socket_type type, const SocketOptions& options)
    : socket_(context.raw(), type) {
  socket_.set(zmq::sockopt::sndhwm, options.send_hwm);
  socket_.set(zmq::sockopt::rcvhwm, options.receive_hwm);
  socket_.set(zmq::sockopt::linger, static_cast<int>(options.linger.count()));
  if (options.send_timeout)
    socket_.set(zmq::sockopt::sndtimeo, static_cast<int>(options.send_timeout->count()));
  socket_.set(zmq::sockopt::maxmsgsize, options.max_message_bytes);
  if (options.xpub_nodrop) set_int(socket_, ZMQ_XPUB_NODROP, 1);
  if (options.xpub_verbose) set_int(socket_, ZMQ_XPUB_VERBOSE, 1);
  if (options.xpub_verboser) set_int(socket_, ZMQ_XPUB_VERBOSER, 1);
  // With a ZAP domain, libzmq requires a security mechanism, which ZMTP 3 has. Without a handler for that
  // domain, it admits every peer that has one.
  if (options.zmtp3_only) socket_.set(zmq::sockopt::zap_domain, "backplane");
  if (options.io_thread) socket_.set(zmq::sockopt::affinity, std::uint64_t{1} << *options.io_thread);
  if (options.curve_server) {
    CHECK(!options.zmtp3_only, "CURVE requires ZMTP 3 anyway, and has its own ZAP domain");
    set_int(socket_, ZMQ_CURVE_SERVER, 1);
    set_key(socket_, ZMQ_CURVE_SECRETKEY, options.curve_server->secret_key);
    socket_.set(zmq::sockopt::zap_domain, options.curve_server->zap_domain);
  }
  if (options.curve_client) {
    set_key(socket_, ZMQ_CURVE_SECRETKEY, options.curve_client->secret_key);
    set_key(socket_, ZMQ_CURVE_PUBLICKEY, options.curve_client->public_key);
    set_key(socket_, ZMQ_CURVE_SERVERKEY, options.curve_client->server_key);
  }
  socket_.set(zmq::sockopt::tcp_maxrt, static_cast<int>(options.send_stall_max.count()));
  socket_.set(zmq::sockopt::tcp_keepalive, 1);
  socket_.set(zmq::sockopt::tcp_keepalive_idle, 2);
  socket_.set(zmq::sockopt::tcp_keepalive_intvl, 2);
  socket_.set(zmq::sockopt::tcp_keepalive_cnt, 2);
  socket_.set(zmq::sockopt::reconnect_ivl, static_cast<int>(options.reconnect_interval.count()));
  socket_.set(zmq::sockopt::reconnect_ivl_max, static_cast<int>(options.reconnect_interval_max.count()));
  if (type == zmq::socket_type::router) {
    // A reply to a peer that has gone is an error to be counted, not to be dropped silently.
    socket_.set(zmq::sockopt::router_mandatory, true);
  }
}

void Socket::check_owner() {
  const std::thread::id me = std::this_thread::get_id();
  if (owner_ == me) return;
  CHECK(owner_ == std::thread::id{}, "a ZeroMQ socket is used by the one thread that owns it");
  owner_ = me;
}

// Only if needed: with it, libzmq binds IPv4 addresses as mapped ones and names them that way.
void Socket::allow_ipv6_of(const std::string& endpoint) {
  socket_.set(zmq::sockopt::ipv6, endpoint.find('[') != std::string::npos);
}

Result<std::string> Socket::bind(const std::string& endpoint) {
  check_owner();
  constexpr std::string_view tcp = "tcp://";
  const std::size_t colon = endpoint.rfind(':');
  const bool is_tcp = endpoint.starts_with(tcp) && colon > tcp.size();
  if (is_tcp && is_localhost(std::string_view(endpoint).substr(tcp.size(), colon - tcp.size()))) {
    return bind_localhost(endpoint.substr(colon + 1));
  }
  return bind_one(endpoint);
}

// Both loopback addresses have the same port. Without IPv6, there is only one of them.
Result<std::string> Socket::bind_localhost(const std::string& port) {
  const bool any_port = port == "0" || port == "*";
  constexpr int attempts_max = 20;  // a port that is free on one address may be taken on the other
  for (int attempt = 0;; ++attempt) {
    auto first = bind_one(fmt::format("tcp://{}:{}", localhost_addresses()[0], port));
    if (!first) return first;
    const std::string chosen = first->substr(first->rfind(':') + 1);
    const std::string second = fmt::format("tcp://{}:{}", localhost_addresses()[1], chosen);
    allow_ipv6_of(second);
    if (uninterrupted([&] { return zmq_bind(socket_.handle(), second.c_str()); }) == 0) return first;
    const int error = zmq_errno();
    for (const int no_ipv6 : {EADDRNOTAVAIL, EAFNOSUPPORT, EPROTONOSUPPORT, ENODEV, EINVAL}) {
      if (error == no_ipv6) return first;
    }
    uninterrupted([&] { return zmq_unbind(socket_.handle(), first->c_str()); });
    if (!any_port || error != EADDRINUSE || attempt == attempts_max)
      return tl::unexpected(endpoint_error("listen on", second, error));
  }
}

Result<std::string> Socket::bind_one(const std::string& endpoint) {
  allow_ipv6_of(endpoint);
  constexpr std::string_view ipc = "ipc://";
  if (endpoint.starts_with(ipc) && is_listened_on(std::string_view(endpoint).substr(ipc.size()))) {
    return tl::unexpected(endpoint_error("listen on", endpoint, EADDRINUSE));
  }
  if (uninterrupted([&] { return zmq_bind(socket_.handle(), endpoint.c_str()); }) != 0) {
    return tl::unexpected(endpoint_error("listen on", endpoint, zmq_errno()));
  }
  return socket_.get(zmq::sockopt::last_endpoint);
}

Result<void> Socket::connect(const std::string& endpoint) {
  check_owner();
  allow_ipv6_of(endpoint);
  if (uninterrupted([&] { return zmq_connect(socket_.handle(), endpoint.c_str()); }) != 0) {
    return tl::unexpected(endpoint_error("connect to", endpoint, zmq_errno()));
  }
  return {};
}

void Socket::disconnect(const std::string& endpoint) {
  check_owner();
  uninterrupted([&] { return zmq_disconnect(socket_.handle(), endpoint.c_str()); });
}

namespace {

// Within a process, the receiver gets the very bytes of the sender. libzmq synchronises the two threads, but
// is built without ThreadSanitizer, which needs these annotations to see it.
#if defined(__SANITIZE_THREAD__)
void note_sent(zmq::message_t& frame) noexcept {
  __tsan_release(frame.data());
}
void note_received(zmq::message_t& frame) noexcept {
  __tsan_acquire(frame.data());
}
#else
void note_sent(const zmq::message_t&) noexcept {}
void note_received(const zmq::message_t&) noexcept {}
#endif

}  // namespace

bool Socket::receive(zmq::message_t& frame) {
  check_owner();
  const auto call = [&] { return zmq_msg_recv(frame.handle(), socket_.handle(), ZMQ_DONTWAIT); };
  if (uninterrupted(call) >= 0) {
    note_received(frame);
    return true;
  }
  if (zmq_errno() != EAGAIN) throw zmq::error_t();
  return false;
}

void Socket::skip_rest(const zmq::message_t& last_frame) {
  bool more = last_frame.more();
  zmq::message_t rest;
  while (more && receive(rest)) more = rest.more();
}

bool Socket::send(std::string_view frame, zmq::send_flags flags) {
  zmq::message_t message(frame.data(), frame.size());
  return send(message, flags);
}

bool Socket::send(zmq::message_t& frame, zmq::send_flags flags) {
  check_owner();
  note_sent(frame);
  const auto call = [&] { return zmq_msg_send(frame.handle(), socket_.handle(), static_cast<int>(flags)); };
  if (uninterrupted(call) >= 0) return true;
  if (zmq_errno() == EAGAIN) {
    // A socket learns what its peers have read by internal commands, and a send that may not wait skips those
    // for up to a millisecond. The queue may have room: reading the events handles all commands.
    (void)events();
    if (uninterrupted(call) >= 0) return true;
  }
  if (zmq_errno() != EAGAIN && zmq_errno() != EHOSTUNREACH) throw zmq::error_t();
  return false;
}

int Socket::events() {
  int events = 0;
  std::size_t size = sizeof events;
  const auto call = [&] { return zmq_getsockopt(socket_.handle(), ZMQ_EVENTS, &events, &size); };
  if (uninterrupted(call) != 0) throw zmq::error_t();
  return events;
}

bool Socket::readable() {
  check_owner();
  return (events() & ZMQ_POLLIN) != 0;
}

int Socket::fd() {
  check_owner();
  return socket_.get(zmq::sockopt::fd);
}

namespace {

std::string monitor_name() {
  static std::atomic<std::uint64_t> next{0};  // inproc names are shared by a context: made unique here
  return fmt::format("inproc://monitor.{}", next.fetch_add(1));
}

SocketOptions monitor_options() {
  SocketOptions options;
  options.receive_hwm = 0;
  return options;
}

}  // namespace

namespace {

HandshakeFailure failure_of(std::uint16_t event, std::int32_t value) {
  using Kind = HandshakeFailure::Kind;
  switch (event) {
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
      return {Kind::refused, value};
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:  // the value is an errno: EPIPE
      return {Kind::closed, 0};
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
      return {value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH ? Kind::mechanism
              : value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC    ? Kind::crypto
                                                                  : Kind::other,
              0};
    default:
      return {};
  }
}

}  // namespace

Monitor::Monitor(Context& context, Socket& watched)
    : watched_(watched), events_(context, zmq::socket_type::pair, monitor_options()) {
  const std::string name = monitor_name();
  constexpr int interesting = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_CONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                              ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED |
                              ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                              ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
  const auto start = [&] { return zmq_socket_monitor(watched_.raw().handle(), name.c_str(), interesting); };
  if (uninterrupted(start) != 0) throw zmq::error_t();
  if (auto connected = events_.connect(name); !connected) throw std::runtime_error(connected.error().text);
}

Monitor::~Monitor() {
  zmq_socket_monitor(watched_.raw().handle(), nullptr, 0);
}

ConnectionEvent Monitor::next() {
  zmq::message_t event;
  descriptor_ = -1;
  failure_ = {};
  if (!events_.receive(event)) return ConnectionEvent::none;
  zmq::message_t endpoint;
  endpoint_.clear();
  if (event.more() && events_.receive(endpoint)) {
    endpoint_ = endpoint.to_string();
    events_.skip_rest(endpoint);
  }
  if (event.size() < sizeof(std::uint16_t)) return ConnectionEvent::other;
  std::uint16_t number = 0;
  std::memcpy(&number, event.data(), sizeof number);
  std::int32_t value = -1;
  if (event.size() >= sizeof number + sizeof value)
    std::memcpy(&value, event.data<char>() + sizeof number, sizeof value);
  const bool names_one =
      number == ZMQ_EVENT_ACCEPTED || number == ZMQ_EVENT_CONNECTED || number == ZMQ_EVENT_DISCONNECTED;
  if (names_one) descriptor_ = value;
  failure_ = failure_of(number, value);
  switch (number) {
    case ZMQ_EVENT_ACCEPTED:
      return ConnectionEvent::accepted;
    case ZMQ_EVENT_CONNECTED:
      return ConnectionEvent::opened;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
      return ConnectionEvent::connected;
    case ZMQ_EVENT_DISCONNECTED:
    case ZMQ_EVENT_CLOSED:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
      return ConnectionEvent::disconnected;
    default:
      return ConnectionEvent::other;
  }
}

Result<void> check_endpoint(std::string_view endpoint, std::string_view where) {
  const auto wrong = [&](std::string_view expected) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected {}, got \"{}\"", where, expected, endpoint));
  };
  constexpr std::string_view forms = "tcp://HOST:PORT, ipc://PATH or inproc://NAME";
  for (std::string_view scheme : {"ipc://", "inproc://"}) {
    if (endpoint.starts_with(scheme)) {
      if (endpoint.size() == scheme.size()) return wrong(forms);
      return {};
    }
  }
  if (!endpoint.starts_with("tcp://")) return wrong(forms);
  const std::string_view address = endpoint.substr(6);
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong(forms);
  const std::string_view host = address.substr(0, colon);
  if (host.find(':') != std::string_view::npos && !(host.front() == '[' && host.back() == ']')) {
    return wrong("an IPv6 address in brackets such as tcp://[::1]:5570");
  }
  const std::string_view port = address.substr(colon + 1);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port != "*" && (error != std::errc{} || end != port.data() + port.size() || number > 65'535)) {
    return wrong("a port of 0..65535");
  }
  return {};
}

}  // namespace backplane::mq
