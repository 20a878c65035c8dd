// Connections to real sockets of libzmq, over loopback TCP.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.hpp>

#include "core/process/descriptor.hpp"
#include "core/zmtp/connection.hpp"
#include "core/zmtp/frame.hpp"
#include "tests/core/zmtp/recording_listener.hpp"

namespace backplane::zmtp {
namespace {

using namespace std::chrono_literals;
using Subscriptions = std::vector<std::pair<bool, std::string>>;

constexpr std::chrono::seconds patience{20};

/// A time limit of a test.
class Deadline {
 public:
  explicit Deadline(std::chrono::milliseconds in) : at_(std::chrono::steady_clock::now() + in) {}
  [[nodiscard]] bool passed() const { return std::chrono::steady_clock::now() >= at_; }

 private:
  std::chrono::steady_clock::time_point at_;
};

/// A server with one connection. Turns read what has arrived, in pieces of random sizes, and write what the
/// connection has sent. `change` may change the bytes of the peer.
class Server {
 public:
  explicit Server(const Connection::Options& options = {}) : options_(options) {
    listening_ = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    const bool bound = ::bind(listening_.get(), any, size) == 0 && ::listen(listening_.get(), 8) == 0 &&
                       ::getsockname(listening_.get(), any, &size) == 0;
    if (!bound) throw std::runtime_error("cannot bind");
    endpoint_ = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }

  std::function<void(std::string& bytes)> change;
  std::function<void(Recorded&)> prepare;

  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  [[nodiscard]] bool connected() const { return peer_ != nullptr; }
  [[nodiscard]] Recorded& peer() { return *peer_; }
  [[nodiscard]] RecordingListener& listener() { return peer_->listener; }
  [[nodiscard]] Fault fault() const { return fault_; }

  void turn() {
    pollfd waiting{peer_ ? socket_.get() : listening_.get(), POLLIN, 0};
    if (!flush()) waiting.events |= POLLOUT;
    if (::poll(&waiting, 1, 5) <= 0) return;
    if (!peer_) {
      socket_ = Descriptor(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      peer_ = std::make_unique<Recorded>(options_);
      if (prepare) prepare(*peer_);
      return;
    }
    std::string bytes(1 + random_() % 9000, '\0');
    const ssize_t got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0) return;
    bytes.resize(static_cast<std::size_t>(got));
    if (change) change(bytes);
    if (fault_ == Fault::none) fault_ = peer_->read(bytes, 1 + random_() % bytes.size());
    flush();
    if (fault_ != Fault::none) socket_ = Descriptor();
  }

  /// Turns until `done` returns true. @returns whether it did, in time
  bool turn_until(const std::function<bool()>& done) {
    const Deadline deadline(patience);
    while (!done()) {
      if (deadline.passed()) return false;
      turn();
    }
    return true;
  }
  bool turn_until_ready() {
    return turn_until([&] { return connected() && peer_->connection.is_ready(); });
  }

 private:
  bool flush() {
    if (!peer_) return true;
    std::string& bytes = peer_->listener.sent;
    while (written_ < bytes.size()) {
      const ssize_t sent =
          ::send(socket_.get(), bytes.data() + written_, bytes.size() - written_, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      written_ += static_cast<std::size_t>(sent);
    }
    bytes.clear();
    written_ = 0;
    return true;
  }

  const Connection::Options options_;
  Descriptor listening_;
  Descriptor socket_;
  std::string endpoint_;
  std::unique_ptr<Recorded> peer_;
  std::size_t written_{};
  Fault fault_{Fault::none};
  std::mt19937 random_{11};  // NOLINT(cert-msc51-cpp): the same pieces in every run
};

struct Security {
  std::string_view name;
  Connection::Options options;
  std::function<void(zmq::socket_t&)> use;
};

const SecretKey& server_key() {
  static const SecretKey key = make_secret_key();
  return key;
}
const SecretKey& client_key() {
  static const SecretKey key = make_secret_key();
  return key;
}

void use_curve(zmq::socket_t& socket, const PublicKey& server) {
  socket.set(zmq::sockopt::curve_serverkey, to_text(server));
  socket.set(zmq::sockopt::curve_publickey, to_text(client_key().public_key()));
  socket.set(zmq::sockopt::curve_secretkey, to_text(client_key()));
}

std::vector<Security> all_security() {
  return {{"NULL", {}, [](zmq::socket_t&) {}},
          {"PLAIN",
           {},
           [](zmq::socket_t& socket) {
             socket.set(zmq::sockopt::plain_username, "alice");
             socket.set(zmq::sockopt::plain_password, "secret");
           }},
          {"CURVE", {.curve_key = &server_key()}, [](zmq::socket_t& socket) {
             use_curve(socket, server_key().public_key());
           }}};
}

/// Messages of random shapes, among them long ones and empty frames.
std::vector<Frames> random_messages(std::mt19937& random, std::size_t count) {
  std::vector<Frames> messages;
  for (std::size_t i = 0; i < count; ++i) {
    Frames frames(1 + random() % 5);
    for (std::string& each : frames) {
      const std::array<std::size_t, 5> sizes{0, random() % 8, 254 + random() % 4, random() % 3000,
                                             random() % 60000};
      each.resize(sizes[random() % (i % 20 == 0 ? 5 : 4)]);
      for (char& c : each) c = static_cast<char>(random());
    }
    messages.push_back(std::move(frames));
  }
  return messages;
}

void send(zmq::socket_t& socket, const Frames& frames) {
  for (std::size_t i = 0; i < frames.size(); ++i)
    (void)socket.send(zmq::buffer(frames[i]),
                      i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
}

/// Receives a message without blocking; empty: there is none.
Frames receive(zmq::socket_t& socket) {
  Frames frames;
  zmq::message_t frame;
  do {
    if (!socket.recv(frame, zmq::recv_flags::dontwait)) return {};
    frames.emplace_back(static_cast<const char*>(frame.data()), frame.size());
  } while (frame.more());
  return frames;
}

void prepare(zmq::socket_t& socket) {
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::sndhwm, 0);
  socket.set(zmq::sockopt::rcvhwm, 0);
}

TEST(Libzmq, MessagesOfAnyShapeArriveUnchangedInBothDirections) {
  std::mt19937 random(3);  // NOLINT(cert-msc51-cpp): the same messages in every run
  for (const Security& security : all_security()) {
    SCOPED_TRACE(security.name);
    zmq::context_t context;
    zmq::socket_t dealer(context, zmq::socket_type::dealer);
    prepare(dealer);
    dealer.set(zmq::sockopt::routing_id, "me");
    security.use(dealer);
    Server server(security.options);
    dealer.connect(server.endpoint());
    const auto sent = random_messages(random, 300);
    for (const Frames& frames : sent) send(dealer, frames);
    ASSERT_TRUE(server.turn_until([&] {
      return server.connected() && server.listener().messages.size() >= sent.size();
    })) << name(server.fault());
    EXPECT_TRUE(server.listener().messages == sent);
    EXPECT_EQ(server.listener().identity, "me");
    EXPECT_EQ(server.listener().peer->type, SocketType::dealer);
    EXPECT_EQ(server.listener().peer->version, (Version{3, 1}));

    const auto replies = random_messages(random, 300);
    for (const Frames& frames : replies)
      server.peer().connection.send_message(std::vector<std::string_view>(frames.begin(), frames.end()));
    std::vector<Frames> received;
    ASSERT_TRUE(server.turn_until([&] {
      for (Frames frames = receive(dealer); !frames.empty(); frames = receive(dealer))
        received.push_back(std::move(frames));
      return received.size() >= replies.size();
    }));
    EXPECT_TRUE(received == replies);
    EXPECT_EQ(server.fault(), Fault::none);
  }
}

TEST(Libzmq, ASubSubscribesAndReceives) {
  for (const Security& security : all_security()) {
    SCOPED_TRACE(security.name);
    zmq::context_t context;
    zmq::socket_t sub(context, zmq::socket_type::sub);
    prepare(sub);
    security.use(sub);
    Server server(security.options);
    sub.set(zmq::sockopt::subscribe, "stock.");
    sub.connect(server.endpoint());
    ASSERT_TRUE(server.turn_until_ready());
    sub.set(zmq::sockopt::subscribe, "");
    sub.set(zmq::sockopt::unsubscribe, "stock.");
    const Subscriptions expected{{true, "stock."}, {true, ""}, {false, "stock."}};
    ASSERT_TRUE(server.turn_until([&] { return server.listener().subscriptions.size() >= expected.size(); }));
    EXPECT_EQ(server.listener().subscriptions, expected);
    const std::vector<std::string_view> event{"clock", "now"};
    server.peer().connection.send_message(event);
    Frames received;
    ASSERT_TRUE(server.turn_until([&] { return !(received = receive(sub)).empty(); }));
    EXPECT_EQ(received, (Frames{"clock", "now"}));
    EXPECT_EQ(server.fault(), Fault::none);
  }
}

TEST(Libzmq, APubSendsWhatThisSubscribesToWhichIsEverything) {
  for (const Security& security : all_security()) {
    SCOPED_TRACE(security.name);
    zmq::context_t context;
    zmq::socket_t pub(context, zmq::socket_type::xpub);
    prepare(pub);
    security.use(pub);
    Server server(security.options);
    pub.connect(server.endpoint());
    Frames subscription;
    ASSERT_TRUE(server.turn_until([&] { return !(subscription = receive(pub)).empty(); }));
    EXPECT_EQ(subscription, Frames{"\x01"});
    for (int i = 0; i < 1000; ++i) send(pub, {"topic", std::to_string(i)});
    ASSERT_TRUE(server.turn_until([&] { return server.listener().messages.size() >= 1000; }));
    EXPECT_EQ(server.listener().messages.back(), (Frames{"topic", "999"}));
    EXPECT_EQ(server.fault(), Fault::none);
  }
}

TEST(Libzmq, AnXsubMaySubscribeByMessages) {
  zmq::context_t context;
  zmq::socket_t xsub(context, zmq::socket_type::xsub);
  prepare(xsub);
  Server server;
  xsub.connect(server.endpoint());
  send(xsub, {"\x01"
              "a."});
  send(xsub, {std::string("\0a.", 3)});
  ASSERT_TRUE(
      server.turn_until([&] { return server.connected() && server.listener().subscriptions.size() >= 2; }));
  EXPECT_EQ(server.listener().subscriptions, (Subscriptions{{true, "a."}, {false, "a."}}));
}

TEST(Libzmq, HeartbeatsOfThePeerAreAnsweredEvenBetweenMessages) {
  for (const Security& security : all_security()) {
    SCOPED_TRACE(security.name);
    zmq::context_t context;
    zmq::socket_t dealer(context, zmq::socket_type::dealer);
    prepare(dealer);
    security.use(dealer);
    dealer.set(zmq::sockopt::heartbeat_ivl, 20);
    dealer.set(zmq::sockopt::heartbeat_timeout, 5000);
    Server server(security.options);
    dealer.connect(server.endpoint());
    ASSERT_TRUE(server.turn_until_ready());
    // Without PONGs, libzmq would close the connection after the timeout; their arrival is what a test can
    // see.
    std::size_t sent = 0;
    const Deadline some(400ms);
    while (!some.passed()) {
      send(dealer, {"a", std::string(5000, 'x'), std::to_string(sent++)});
      server.turn();
    }
    ASSERT_TRUE(server.turn_until([&] { return server.listener().messages.size() >= sent; }));
    EXPECT_EQ(server.fault(), Fault::none);
  }
}

TEST(Libzmq, TheClientsKeyIsTheOneThatItHasProved) {
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  prepare(dealer);
  use_curve(dealer, server_key().public_key());
  Server server({.curve_key = &server_key()});
  dealer.connect(server.endpoint());
  ASSERT_TRUE(server.turn_until_ready());
  EXPECT_EQ(server.listener().credentials,
            std::vector<std::string>{"CURVE " + to_text(client_key().public_key())});
}

TEST(Libzmq, AClientThatExpectsAnotherServerIsRefused) {
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  prepare(dealer);
  use_curve(dealer, client_key().public_key());
  Server server({.curve_key = &server_key()});
  dealer.connect(server.endpoint());
  ASSERT_TRUE(server.turn_until([&] { return server.fault() != Fault::none; }));
  EXPECT_EQ(server.fault(), Fault::bad_box);
}

/// With CURVE: in PLAIN, libzmq 4.3.4 takes any ERROR for an unexpected command.
TEST(Libzmq, ARefusalArrivesWithItsStatus) {
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  prepare(dealer);
  use_curve(dealer, server_key().public_key());
  zmq_socket_monitor(dealer.handle(), "inproc://events", ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
  zmq::socket_t events(context, zmq::socket_type::pair);
  events.set(zmq::sockopt::linger, 0);
  events.connect("inproc://events");
  Server server({.curve_key = &server_key()});
  server.prepare = [](Recorded& peer) { peer.listener.decide = [&] { peer.connection.refuse("400"); }; };
  dealer.connect(server.endpoint());
  Frames event;
  ASSERT_TRUE(server.turn_until([&] { return !(event = receive(events)).empty(); })) << name(server.fault());
  std::uint32_t status = 0;
  std::memcpy(&status, event[0].data() + sizeof(std::uint16_t), sizeof status);
  EXPECT_EQ(status, 400U);
  EXPECT_EQ(server.fault(), Fault::not_authenticated);
}

/// One byte of what the client sends after its greeting is different, wherever it is.
TEST(Libzmq, NoDamagedBoxIsAccepted) {
  constexpr std::size_t greeting_bytes = 64;
  std::size_t length = 0;
  const auto run = [&](std::size_t damaged, std::chrono::milliseconds limit) {
    zmq::context_t context;
    zmq::socket_t dealer(context, zmq::socket_type::dealer);
    prepare(dealer);
    use_curve(dealer, server_key().public_key());
    Server server({.curve_key = &server_key()});
    std::size_t seen = 0;
    server.change = [&](std::string& bytes) {
      if (damaged >= seen && damaged < seen + bytes.size()) bytes[damaged - seen] ^= 0x10;
      seen += bytes.size();
    };
    dealer.connect(server.endpoint());
    send(dealer, {"topic", "payload"});
    const Deadline deadline(limit);
    while (server.fault() == Fault::none && !deadline.passed() &&
           (!server.connected() || server.listener().messages.empty())) {
      server.turn();
    }
    length = std::max(length, seen);
    return server.connected() && !server.listener().messages.empty();
  };
  ASSERT_TRUE(run(1u << 20, patience)) << "what is not damaged arrives";
  ASSERT_GT(length, 400U);
  // Not the padding of HELLO (72 bytes from byte 8 of the command), which means nothing.
  std::mt19937 random(5);  // NOLINT(cert-msc51-cpp): the same bytes in every run
  for (int i = 0; i < 30; ++i) {
    const std::size_t at = greeting_bytes + 2 + 80 + random() % (length - greeting_bytes - 2 - 80);
    EXPECT_FALSE(run(at, 500ms)) << "byte " << at << " of " << length;
  }
}

}  // namespace
}  // namespace backplane::zmtp
