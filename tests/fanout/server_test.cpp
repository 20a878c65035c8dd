#include "fanout/server.hpp"

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "fanout/address.hpp"
#include "fanout/descriptor.hpp"

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using ::testing::HasSubstr;

/// Answers each byte sequence with the same; "end" ends the session. What it sends on its own says the test.
class Echo final : public Connection {
 public:
  Echo(Session& session, std::vector<Session*>& all) : session_(session), all_(all) {
    all_.push_back(&session_);
  }
  ~Echo() override { std::erase(all_, &session_); }
  void on_bytes(std::string_view bytes) override {
    if (bytes == "end") return session_.end("ended");
    session_.reply(bytes);
  }
  void on_input_end() override {}
  void on_dropped(const Message&) override {}
  void report_losses(std::string&) override {}
  void say_goodbye(std::string_view reason) override { session_.end(reason); }

 private:
  Session& session_;
  std::vector<Session*>& all_;
};

class ServerTest : public ::testing::Test, public Acceptor {
 protected:
  std::unique_ptr<Connection> open(Session& session) override {
    return std::make_unique<Echo>(session, sessions_);
  }
  std::string_view refusal(Refusal) override { return "full"; }
  std::string_view silence() override { return "silent"; }

  void start(ServerOptions options = {}, const std::string& place = "127.0.0.1:0") {
    server_ = std::make_unique<Server>(options, *this);
    auto address = server_->listen(place);
    ASSERT_TRUE(address) << address.error().text;
    address_ = *address;
  }

  Descriptor connect() {
    const auto address = look_up(*parse_host_port(address_, "test"));
    Descriptor socket(::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(socket.get(), address->get(), address->length), 0);
    return socket;
  }

  /// Turns the server until `done`, at most 5 s.
  bool turn_until(const std::function<bool()>& done) {
    const auto limit = Clock::now() + 5s;
    while (!done()) {
      if (Clock::now() >= limit) return false;
      server_->wait(Clock::now());  // the clients are here too: nothing to sleep for
      server_->flush();
    }
    return true;
  }

  /// What `socket` receives until it has `wanted`, or its end.
  std::string receive(const Descriptor& socket, const std::string& wanted) {
    std::string all;
    (void)turn_until([&] {
      std::array<char, 4096> buffer;
      const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got > 0) all.append(buffer.data(), static_cast<std::size_t>(got));
      if (got == 0) all += "(end)";
      return got == 0 || (!wanted.empty() && all == wanted);
    });
    return all;
  }

  static void send(const Descriptor& socket, std::string_view text) {
    ASSERT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }

  std::vector<Session*> sessions_;
  std::unique_ptr<Server> server_;
  std::string address_;
};

TEST_F(ServerTest, PicksAFreePortAndServesIt) {
  start();
  EXPECT_THAT(address_, ::testing::Not(HasSubstr(":0")));
  const auto client = connect();
  send(client, "hello");
  EXPECT_EQ(receive(client, "hello"), "hello");
  EXPECT_EQ(server_->counters().connections, 1u);
}

TEST_F(ServerTest, ServesIpv6) {
  start({}, "[::1]:0");
  EXPECT_THAT(address_, HasSubstr("[::1]:"));
  const auto client = connect();
  send(client, "hello");
  EXPECT_EQ(receive(client, "hello"), "hello");
}

TEST_F(ServerTest, NamesThePlaceWhereItCannotListen) {
  start();
  const auto again = server_->listen(address_);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().text, "cannot listen on " + address_ + ": Address already in use");
  EXPECT_FALSE(server_->listen("nowhere"));
  EXPECT_FALSE(server_->listen("127.0.0.1:99999"));
}

TEST_F(ServerTest, GoesOnSendingToAClientThatHasEndedItsInput) {
  start();
  const auto client = connect();
  send(client, "hello");
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(receive(client, "hello"), "hello");
  ASSERT_TRUE(turn_until([&] { return sessions_.size() == 1 && sessions_[0]->input_ended(); }));
  sessions_[0]->send(std::make_shared<const Message>("event"));
  EXPECT_EQ(receive(client, "event"), "event");
}

TEST_F(ServerTest, LetsGoOfAClientThatHasVanished) {
  start();
  auto client = connect();
  ASSERT_TRUE(turn_until([&] { return sessions_.size() == 1; }));
  client.reset();
  ASSERT_TRUE(turn_until([&] {
    if (!sessions_.empty()) sessions_[0]->send(std::make_shared<const Message>("event"));
    return sessions_.empty();
  }));
  EXPECT_EQ(server_->counters().connections, 0u);
}

TEST_F(ServerTest, LastWordsArriveAlsoWhereTheClientGoesOnTalking) {
  start();
  const auto client = connect();
  send(client, "end");
  ASSERT_TRUE(turn_until([&] { return sessions_.size() == 1 && !sessions_[0]->open(); }));
  send(client, "and this, which nobody reads");
  EXPECT_EQ(receive(client, ""), "ended(end)");
}

TEST_F(ServerTest, DoesNotWaitForEverForAClientThatIgnoresTheEnd) {
  ServerOptions options;
  options.linger = 20ms;
  start(options);
  const auto client = connect();
  send(client, "end");
  EXPECT_TRUE(turn_until([&] { return server_->counters().accepted == 1 && sessions_.empty(); }));
}

TEST_F(ServerTest, SendsAwayWhoComesAboveTheLimit) {
  ServerOptions options;
  options.connections_max = 1;
  start(options);
  const auto first = connect();
  ASSERT_TRUE(turn_until([&] { return sessions_.size() == 1; }));
  const auto second = connect();
  EXPECT_EQ(receive(second, ""), "full(end)");
  EXPECT_EQ(server_->counters().refused, 1u);
  send(first, "still here");
  EXPECT_EQ(receive(first, "still here"), "still here");
}

TEST_F(ServerTest, LoopbackHasNoLimitOfConnectionsPerAddress) {
  ServerOptions options;
  options.connections_per_address_max = 1;
  start(options);
  const auto first = connect();
  const auto second = connect();
  EXPECT_TRUE(turn_until([&] { return sessions_.size() == 2; }));
}

TEST_F(ServerTest, SendsAwayWhoSaysNothingWhereThatIsWanted) {
  ServerOptions options;
  options.first_byte_timeout = 50ms;
  start(options);
  const auto talker = connect();
  send(talker, "x");
  EXPECT_EQ(receive(talker, "x"), "x");
  const auto silent = connect();
  EXPECT_EQ(receive(silent, ""), "silent(end)");
  EXPECT_EQ(server_->counters().silent, 1u);
  send(talker, "y");
  EXPECT_EQ(receive(talker, "y"), "y");
}

TEST_F(ServerTest, SurvivesWantOfDescriptors) {
  start();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const auto first = connect();
  ASSERT_TRUE(turn_until([&] { return sessions_.size() == 1; }));
  const auto second = connect();  // the kernel has it; accepting it needs a descriptor
  Descriptor highest(::dup(second.get()));
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(highest.get());
  highest.reset();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const bool counted = turn_until([&] { return server_->counters().accept_errors > 0; });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(counted);
  EXPECT_TRUE(turn_until([&] { return sessions_.size() == 2; }));
}

TEST_F(ServerTest, AClientThatReadsNothingHoldsUpNobody) {
  ServerOptions options;
  options.session.backlog_bytes_max = 64 << 10;
  start(options);
  const auto stalled = connect();
  ASSERT_TRUE(turn_until([&] { return sessions_.size() == 1; }));
  const auto healthy = connect();
  ASSERT_TRUE(turn_until([&] { return sessions_.size() == 2; }));
  const auto message = std::make_shared<const Message>(std::string(1000, 'x'));
  for (int round = 0; round < 300; ++round) {
    for (int i = 0; i < 32; ++i) {
      for (Session* const session : sessions_) session->send(message);
    }
    const std::string all(32'000, 'x');
    ASSERT_EQ(receive(healthy, all).size(), all.size());
  }
  EXPECT_GT(server_->session_counters().dropped, 0u);
  EXPECT_LE(server_->session_counters().backlog_bytes, 128u << 10);
}

TEST(HostPort, IsReadAsPeopleWriteIt) {
  EXPECT_EQ(parse_host_port("127.0.0.1:1601", "listen")->port, 1601);
  EXPECT_EQ(parse_host_port("[::1]:0", "listen")->host, "::1");
  EXPECT_EQ(parse_host_port("localhost:65535", "listen")->host, "localhost");
}

TEST(HostPort, ThatIsWrongIsNamed) {
  EXPECT_EQ(parse_host_port("127.0.0.1", "--listen").error().text,
            "--listen: wanted HOST:PORT, as 127.0.0.1:1601 or [::1]:1601, got \"127.0.0.1\"");
  EXPECT_EQ(parse_host_port("::1:1601", "--listen").error().text,
            "--listen: wanted an IPv6 address in brackets, as [::1]:1601, got \"::1:1601\"");
  for (const char* const wrong : {"", ":", ":1", "a:", "a:-1", "a:65536", "a:1x", "[]:1"}) {
    EXPECT_FALSE(parse_host_port(wrong, "listen")) << wrong;
  }
}

}  // namespace
}  // namespace backplane::fanout
