#include "fanout/listeners.hpp"

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

/// Keeps admitted connections. The test sets the time.
class ListenersTest : public ::testing::Test {
 protected:
  void start(ListenersOptions options = {}) {
    listeners_.emplace(
        options,
        [this](Accepted accepted) {
          admitted_.push_back(std::move(accepted));
          return ClientId{admitted_.size()};
        },
        [](const Refused& refused) -> std::string {
          return refused.why == Refusal::connection_limit ? "full\n"
                 : refused.why == Refusal::address_limit  ? "too many of you\n"
                                                          : "no files\n";
        });
  }
  Listener listen(const std::string& address = "127.0.0.1:0") {
    auto listening = listeners_->listen(address);
    EXPECT_TRUE(listening) << listening.error().text;
    return listening ? *listening : Listener{};
  }
  static Descriptor connect(const Listener& listener) {
    const auto address = look_up(*parse_host_port(listener.address, "test"));
    Descriptor socket(::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(socket.get(), address->get(), address->length), 0);
    return socket;
  }
  [[nodiscard]] bool connection_waits() const {
    pollfd ready{.fd = listeners_->fd(), .events = POLLIN, .revents = 0};
    return ::poll(&ready, 1, 0) == 1;
  }
  /// @returns all bytes until the end of the stream.
  static std::string receive(const Descriptor& socket) {
    std::string all;
    std::array<char, 100> buffer;
    pollfd ready{.fd = socket.get(), .events = POLLIN, .revents = 0};
    while (::poll(&ready, 1, 60'000) == 1) {
      const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
      if (got <= 0) return all;
      all.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return all + "(no end within 60 s)";
  }

  Listeners::Clock::time_point now_{1h};
  std::vector<Accepted> admitted_;
  std::optional<Listeners> listeners_;
};

TEST_F(ListenersTest, LocalhostIsOneListenerWithBothLoopbackAddresses) {
  start();
  const Listener before = listen();
  const Listener listener = listen("localhost:0");
  const Listener after = listen();
  EXPECT_EQ(listener.index, before.index + 1);
  EXPECT_EQ(after.index, listener.index + 1);
  EXPECT_TRUE(listener.loopback);
  EXPECT_TRUE(listener.address.starts_with("127.0.0.1:")) << listener.address;
  const std::string port = listener.address.substr(listener.address.rfind(':'));
  std::vector<Descriptor> clients;
  clients.push_back(connect(listener));
  if (listeners_->listen("[::1]:0")) clients.push_back(connect({listener.index, "[::1]" + port, true}));
  while (admitted_.size() < clients.size()) {
    pollfd ready{.fd = listeners_->fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&ready, 1, 60'000), 1);
    listeners_->accept(Listeners::Clock::now());
  }
  for (const Accepted& each : admitted_) EXPECT_EQ(each.listener, listener.index);
}

TEST_F(ListenersTest, AdmitsAConnectionWithItsPeersAddressAndItsListener) {
  start();
  const Listener one = listen();
  const Listener two = listen();
  EXPECT_THAT(one.address, ::testing::Not(HasSubstr(":0")));
  EXPECT_TRUE(one.loopback);
  EXPECT_FALSE(connection_waits());
  const auto client = connect(two);
  EXPECT_TRUE(connection_waits());
  listeners_->accept(now_);
  ASSERT_EQ(admitted_.size(), 1u);
  EXPECT_EQ(admitted_[0].listener, two.index);
  EXPECT_TRUE(admitted_[0].peer.is_loopback());
  EXPECT_EQ(::send(client.get(), "x", 1, MSG_NOSIGNAL), 1);
  char byte = 0;
  pollfd ready{.fd = admitted_[0].socket.get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&ready, 1, 60'000), 1);
  EXPECT_EQ(::recv(admitted_[0].socket.get(), &byte, 1, 0), 1);
  EXPECT_EQ(::recv(admitted_[0].socket.get(), &byte, 1, 0), -1) << "the socket does not block";
}

TEST_F(ListenersTest, ListensOnIpv6) {
  start();
  const Listener listener = listen("[::1]:0");
  EXPECT_TRUE(listener.loopback);
  const auto client = connect(listener);
  listeners_->accept(now_);
  EXPECT_EQ(admitted_.size(), 1u);
}

TEST_F(ListenersTest, AnErrorNamesTheAddressOnWhichItCannotListen) {
  start();
  const Listener listener = listen();
  const auto again = listeners_->listen(listener.address);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().text, "cannot listen on " + listener.address + ": Address already in use");
  EXPECT_FALSE(listeners_->listen("nowhere"));
}

TEST_F(ListenersTest, RefusesConnectionsAboveTheLimitAndAcceptsAgainWhenOneHasClosed) {
  start({.connections_max = 2});
  const Listener listener = listen();
  const auto first = connect(listener);
  const auto second = connect(listener);
  const auto third = connect(listener);
  listeners_->accept(now_);
  EXPECT_EQ(admitted_.size(), 2u);
  EXPECT_EQ(receive(third), "full\n");
  EXPECT_EQ(listeners_->counters().refused_connection_limit, 1u);
  listeners_->on_client_closed(ClientId{1});
  listeners_->on_client_closed(ClientId{1});  // a client that was reported already, or is unknown, is ignored
  EXPECT_EQ(listeners_->counters().connections, 1u);
  const auto fourth = connect(listener);
  listeners_->accept(now_);
  EXPECT_EQ(admitted_.size(), 3u);
  EXPECT_EQ(listeners_->counters().accepted, 3u);
}

TEST_F(ListenersTest, EachAddressHasItsOwnLimit) {
  start({.connections_per_address_max = 1, .loopback_is_exempt = false});
  const Listener listener = listen();
  const Listener other = listen("[::1]:0");
  const auto first = connect(listener);
  const auto second = connect(listener);
  const auto elsewhere = connect(other);
  listeners_->accept(now_);
  EXPECT_EQ(receive(second), "too many of you\n");
  EXPECT_EQ(listeners_->counters().refused_address_limit, 1u);
  EXPECT_EQ(listeners_->counters().refused_connection_limit, 0u);
  EXPECT_EQ(admitted_.size(), 2u);
  listeners_->on_client_closed(ClientId{1});
  const auto third = connect(listener);
  listeners_->accept(now_);
  EXPECT_EQ(admitted_.size(), 3u);
}

TEST_F(ListenersTest, LoopbackIsExemptFromTheLimitPerAddress) {
  start({.connections_per_address_max = 1});
  const Listener listener = listen();
  const auto first = connect(listener);
  const auto second = connect(listener);
  listeners_->accept(now_);
  EXPECT_EQ(admitted_.size(), 2u);
}

TEST_F(ListenersTest, AFloodOfConnectionsIsAcceptedInSeveralTurns) {
  start();
  const Listener listener = listen();
  std::vector<Descriptor> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(connect(listener));
  listeners_->accept(now_);
  EXPECT_LT(admitted_.size(), 100u);
  EXPECT_TRUE(connection_waits());
  listeners_->accept(now_);
  EXPECT_EQ(admitted_.size(), 100u);
}

TEST_F(ListenersTest, OutOfDescriptorsItWaitsAndContinuesWhenThereAreSomeAgain) {
  start();
  const Listener listener = listen();
  const auto client = connect(listener);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  listeners_->accept(now_);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(listeners_->counters().accept_errors, 1u);
  EXPECT_FALSE(connection_waits()) << "no busy loop meanwhile";
  EXPECT_EQ(listeners_->next_deadline(), now_ + 100ms);
  listeners_->accept(now_ + 50ms);
  EXPECT_TRUE(admitted_.empty());
  listeners_->accept(now_ + 100ms);
  EXPECT_EQ(admitted_.size(), 1u);
  EXPECT_EQ(listeners_->next_deadline(), Listeners::Clock::time_point::max());
}

TEST_F(ListenersTest, ConnectionsThatWouldUseTheProgramsOwnDescriptorsAreRefused) {
  const Descriptor lowest(::dup(0));  // the next one is as low, or higher
  start({.descriptors_max = lowest.get() + 10});
  const Listener listener = listen();
  // The clients' own ends use descriptors of this process too.
  std::vector<Descriptor> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(connect(listener));
  listeners_->accept(now_);
  EXPECT_TRUE(admitted_.empty());
  EXPECT_EQ(listeners_->counters().refused_descriptor_limit, 10u);
  EXPECT_EQ(receive(clients[0]), "no files\n");
  clients.clear();
  listeners_->accept(now_);  // closes what was refused
  const auto client = connect(listener);
  listeners_->accept(now_);
  EXPECT_EQ(admitted_.size(), 1u);
}

class RefusalTest : public ListenersTest {
 protected:
  RefusalTest() {
    listeners_.emplace(
        ListenersOptions{.connections_max = 0}, [](Accepted) { return ClientId{1}; },
        [](const Refused& refused) -> std::string {
          if (refused.begun.find('\n') == std::string_view::npos && !refused.last) return "";
          return refused.begun.starts_with("GET ") ? "HTTP" : "line";
        });
    listener_ = listen();
  }
  static void send(const Descriptor& socket, std::string_view bytes) {
    EXPECT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  static bool readable(const Descriptor& socket) {
    pollfd ready{.fd = socket.get(), .events = POLLIN, .revents = 0};
    return ::poll(&ready, 1, 0) == 1;
  }
  Listener listener_;
};

TEST_F(RefusalTest, AnswersInTheProtocolOfTheFirstBytes) {
  const auto web = connect(listener_);
  const auto line = connect(listener_);
  listeners_->accept(now_);
  EXPECT_FALSE(readable(web));
  EXPECT_EQ(listeners_->next_deadline(), now_ + 1s);
  send(web, "GET / HT");
  listeners_->accept(now_);
  EXPECT_FALSE(readable(web));
  send(web, "TP/1.1\r\n\r\n");
  send(line, "SUB a\n");
  EXPECT_TRUE(connection_waits());
  listeners_->accept(now_);
  EXPECT_EQ(receive(web), "HTTP");
  EXPECT_EQ(receive(line), "line");
  EXPECT_FALSE(connection_waits()) << "no busy loop";
}

TEST_F(RefusalTest, AnswersASilentClientAfterASecondAndClosesAfterAnother) {
  const auto silent = connect(listener_);
  listeners_->accept(now_);
  listeners_->accept(now_ + 999ms);
  EXPECT_FALSE(readable(silent));
  listeners_->accept(now_ + 1s);
  EXPECT_EQ(receive(silent), "line");
  EXPECT_EQ(listeners_->next_deadline(), now_ + 2s);
  listeners_->accept(now_ + 2s);
  EXPECT_EQ(listeners_->next_deadline(), Listeners::Clock::time_point::max());
}

TEST_F(RefusalTest, TheAnswerArrivesAlthoughTheClientIsStillSending) {
  const auto client = connect(listener_);
  listeners_->accept(now_);
  send(client, "GET /" + std::string(100'000, 'x'));
  listeners_->accept(now_);
  send(client, std::string(10'000, 'y'));
  listeners_->accept(now_);
  EXPECT_EQ(receive(client), "HTTP");
}

TEST_F(RefusalTest, AFloodOfRefusedConnectionsUsesFewDescriptors) {
  std::vector<Descriptor> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(connect(listener_));
  const Descriptor before(::dup(0));
  listeners_->accept(now_);
  const Descriptor after(::dup(0));
  EXPECT_LE(after.get() - before.get(), static_cast<int>(ListenersOptions{}.refused_max) + 1);
  EXPECT_EQ(receive(clients[0]), "line") << "the oldest one is answered early";
}

TEST_F(ListenersTest, ConnectionsStayOpenWhenListeningStops) {
  start();
  const Listener listener = listen();
  const auto client = connect(listener);
  listeners_->accept(now_);
  listeners_->stop();
  listeners_->accept(now_);
  EXPECT_EQ(::send(client.get(), "x", 1, MSG_NOSIGNAL), 1);
  const auto address = look_up(*parse_host_port(listener.address, "test"));
  const Descriptor late(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(late.get(), address->get(), address->length), -1);
}

}  // namespace
}  // namespace backplane::fanout
