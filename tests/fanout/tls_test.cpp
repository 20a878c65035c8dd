// The engine with clients that use TLS, over real sockets.
#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "core/thread/mutex.hpp"
#include "fanout/engine.hpp"
#include "fanout/tls/context.hpp"
#include "tests/fanout/tls_peer.hpp"

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class TlsContextTest : public ::testing::Test {
 protected:
  TlsContextTest() { folder_.create("gw.test", 24h * 365); }

  [[nodiscard]] Result<std::shared_ptr<const TlsContext>> load(const std::string& certificate,
                                                               const std::string& key) const {
    return TlsContext::load({{folder_.file(certificate)}, {folder_.file(key)}, {}});
  }
  [[nodiscard]] std::string error(const std::string& certificate, const std::string& key) const {
    const auto context = load(certificate, key);
    return context ? "none" : context.error().text;
  }
  [[nodiscard]] std::shared_ptr<const TlsContext> context(const std::string& name = "gw.test") const {
    const auto context = load(name + ".pem", name + ".key");
    EXPECT_TRUE(context) << context.error().text;
    return context.value_or(nullptr);
  }

  const CertificateFolder folder_;
};

TEST_F(TlsContextTest, ACertificateIsValidForItsNames) {
  EXPECT_TRUE(context()->has_name("gw.test"));
  EXPECT_TRUE(context()->has_name("GW.test"));
  EXPECT_FALSE(context()->has_name("other.test"));
  EXPECT_FALSE(context()->has_name("127.0.0.1"));
  EXPECT_FALSE(context()->has_name(""));
}

TEST_F(TlsContextTest, AnErrorNamesTheFileAndWhatIsWrongWithIt) {
  folder_.create("other", 24h);
  EXPECT_THAT(error("gw.test.pem", "other.key"),
              ::testing::MatchesRegex(".*/other.key: expected the key of .*/gw.test.pem, got another one"));
  EXPECT_THAT(error("gw.test.key", "gw.test.key"),
              HasSubstr("gw.test.key: expected a certificate in PEM, got none"));
  EXPECT_THAT(error("no.pem", "gw.test.key"), HasSubstr("no.pem: no such file"));
  std::filesystem::permissions(folder_.file("other.key"), std::filesystem::perms::others_read,
                               std::filesystem::perm_options::add);
  EXPECT_THAT(error("other.pem", "other.key"),
              HasSubstr("other.key: expected a file that other users can neither"));
}

TEST_F(TlsContextTest, WarnsOfCertificatesThatAreNotValidOrSoonNotValid) {
  const auto now = std::chrono::system_clock::now();
  EXPECT_THAT(context()->warnings(now), IsEmpty());
  EXPECT_THAT(context()->warnings(now + 24h * 360),
              ElementsAre(HasSubstr("gw.test.pem: the certificate expires on ")));
  EXPECT_THAT(context()->warnings(now + 24h * 366),
              ElementsAre(HasSubstr("gw.test.pem: the certificate expired on ")));
  EXPECT_THAT(context()->warnings(now - 24h), ElementsAre(HasSubstr("the certificate is not valid before ")));
}

/// Echoes what it receives, and reports each loss as "!<first> <last>\n". Records what it learns in `seen`.
struct Seen {
  Mutex mutex;
  std::vector<std::string> names GUARDED_BY(mutex);
  int input_ends GUARDED_BY(mutex){};
};

class Echo final : public Handler {
 public:
  Echo(Client& client, Seen& seen) : client_(client), seen_(seen) {}
  void on_bytes(std::string_view bytes) override {
    {
      const MutexLock lock(seen_.mutex);
      seen_.names.push_back(std::string(client_.is_encrypted() ? "tls:" : "plain:") +
                            std::string(client_.peer_certificate_name()));
    }
    client_.reply(bytes);
  }
  void on_input_end() override {
    const MutexLock lock(seen_.mutex);
    ++seen_.input_ends;
  }
  void report_losses(std::span<const Loss> losses, std::string& out) override {
    for (const Loss& loss : losses) {
      out += "!" + std::to_string(loss.first) + " " + std::to_string(loss.last) + "\n";
    }
  }
  void say_goodbye(std::string_view reason) override { client_.end("bye " + std::string(reason) + "\n"); }

 private:
  Client& client_;
  Seen& seen_;
};

class TlsEngine : public TlsContextTest {
 protected:
  /// @returns options with TLS
  [[nodiscard]] EngineOptions options(const std::string& client_ca = {}) const {
    EngineOptions options;
    auto context = TlsContext::load({{folder_.file("gw.test.pem")},
                                     {folder_.file("gw.test.key")},
                                     client_ca.empty() ? "" : folder_.file(client_ca)});
    EXPECT_TRUE(context) << context.error().text;
    options.worker.tls.context = context.value_or(nullptr);
    options.worker.tls.refuse_plaintext = [](std::string_view begun, bool last) {
      return last || begun.ends_with('\n') ? "plaintext refused\n" : "";
    };
    options.worker.shard.linger = 20s;
    return options;
  }
  void start(EngineOptions options) {
    engine_ = std::make_unique<Engine>(std::move(options));
    engine_->set_route(RouteId{1}, {AudienceId{1}});
  }
  /// The client's end of a new connection.
  Descriptor connect(bool joins = false) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    EXPECT_EQ(::fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    const timeval limit{.tv_sec = 20, .tv_usec = 0};  // a read that waits longer fails
    EXPECT_EQ(::setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    const int small = 4096;
    EXPECT_EQ(::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    const ClientId id = engine_->adopt(
        Descriptor(ends[0]), [this](Client& client) { return std::make_unique<Echo>(client, seen_); });
    if (joins) engine_->join(id, AudienceId{1});
    engine_->publish();
    return Descriptor(ends[1]);
  }
  void append(std::uint64_t offset, std::size_t padding = 0) {
    engine_->append(std::to_string(offset) + std::string(padding, ' ') + "\n",
                    {TopicId{1}, RouteId{1}, offset});
  }
  [[nodiscard]] TlsCounters counters() const { return engine_->counters().tls; }
  [[nodiscard]] std::uint64_t failures(TlsFailure reason) const {
    return counters().failures[static_cast<std::size_t>(reason)];
  }
  template <class Condition>
  [[nodiscard]] static bool wait(Condition&& condition) {
    for (const auto until = std::chrono::steady_clock::now() + 20s; !condition();) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }
  /// Everything until the end of the input, without TLS.
  static std::string read_all(const Descriptor& socket) {
    std::string all;
    std::array<char, 4096> buffer;
    ssize_t got = 0;
    while ((got = ::recv(socket.get(), buffer.data(), buffer.size(), 0)) > 0) {
      all.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return all;
  }
  std::vector<std::string> names() {
    const MutexLock lock(seen_.mutex);
    return seen_.names;
  }
  int input_ends() {
    const MutexLock lock(seen_.mutex);
    return seen_.input_ends;
  }

  Seen seen_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(TlsEngine, AClientWithTlsSendsAndReceives) {
  start(options());
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsPeer peer(connect(true), version);
    ASSERT_TRUE(peer.connect());
    peer.send("hello\n");
    EXPECT_EQ(peer.receive(), "hello\n");
    append(1);
    engine_->publish();
    EXPECT_EQ(peer.receive(), "1\n");
    EXPECT_EQ(SSL_version(peer.ssl()), version);
  }
  EXPECT_THAT(names(), ElementsAre("tls:", "tls:"));
  EXPECT_EQ(counters().handshakes, 2u);
}

TEST_F(TlsEngine, TheOutputEndsAsTlsDoes) {
  start(options());
  TlsPeer peer(connect());
  ASSERT_TRUE(peer.connect());
  engine_->say_goodbye("drain");
  engine_->publish();
  EXPECT_EQ(peer.receive_all(), "bye drain\n");
  EXPECT_TRUE(peer.ended());
}

TEST_F(TlsEngine, OnlyTheEndOfTlsEndsTheInput) {
  start(options());
  {
    TlsPeer peer(connect());
    ASSERT_TRUE(peer.connect());
    SSL_shutdown(peer.ssl());
    EXPECT_TRUE(wait([&] { return input_ends() == 1; }));
  }
  {
    TlsPeer peer(connect());
    ASSERT_TRUE(peer.connect());
    peer.send("half a comm");
    EXPECT_EQ(peer.receive(), "half a comm");
    ::shutdown(peer.socket().get(), SHUT_WR);  // as somebody on the way could do
    (void)peer.receive_all();
    EXPECT_FALSE(peer.ended());
  }
  EXPECT_EQ(input_ends(), 1);
}

TEST_F(TlsEngine, PlaintextIsRefusedAndNothingElseIsWritten) {
  start(options());
  const Descriptor socket = connect(true);
  append(1);
  engine_->publish();
  ASSERT_EQ(::send(socket.get(), "SUB\n", 4, 0), 4);
  EXPECT_EQ(read_all(socket), "plaintext refused\n");
  EXPECT_EQ(counters().plaintext_refused, 1u);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(TlsEngine, ASilentClientIsRefusedIfTlsIsRequired) {
  auto with = options();
  with.worker.tls.handshake_timeout = 100ms;
  start(std::move(with));
  EXPECT_EQ(read_all(connect(true)), "plaintext refused\n");
}

TEST_F(TlsEngine, PlaintextIsServedIfTlsIsNotRequired) {
  auto with = options();
  with.worker.tls.required = false;
  start(std::move(with));
  const Descriptor speaks = connect();
  ASSERT_EQ(::send(speaks.get(), "hello\n", 6, 0), 6);
  std::array<char, 10> buffer{};
  EXPECT_EQ(::recv(speaks.get(), buffer.data(), buffer.size(), 0), 6);
  // A client that only listens.
  const Descriptor listens = connect(true);
  append(1);
  engine_->publish();
  EXPECT_EQ(::recv(listens.get(), buffer.data(), buffer.size(), 0), 2);
  // One with TLS, for which messages wait.
  TlsPeer peer(connect(true));
  append(2);
  engine_->publish();
  ASSERT_TRUE(peer.connect());
  EXPECT_EQ(peer.receive(), "2\n");
  EXPECT_THAT(names(), ElementsAre("plain:"));
}

TEST_F(TlsEngine, TheNameInAClientsCertificateIsKnownBeforeTheFirstByte) {
  folder_.create("dashboard", 24h, true);
  start(options("dashboard.pem"));
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsPeer peer(connect(), version, folder_.file("dashboard"));
    ASSERT_TRUE(peer.connect());
    peer.send("x");
    EXPECT_EQ(peer.receive(), "x");
  }
  TlsPeer without(connect());
  ASSERT_TRUE(without.connect());
  without.send("x");
  EXPECT_EQ(without.receive(), "x");
  EXPECT_THAT(names(), ElementsAre("tls:dashboard", "tls:dashboard", "tls:"));
}

TEST_F(TlsEngine, AnInvalidCertificateOfAClientIsRefused) {
  folder_.create("dashboard", 24h, true);
  folder_.create("stranger", 24h, true);
  start(options("dashboard.pem"));
  TlsPeer peer(connect(), TLS1_2_VERSION, folder_.file("stranger"));
  EXPECT_FALSE(peer.connect());
  EXPECT_TRUE(wait([&] { return failures(TlsFailure::client_certificate) == 1; }));
}

TEST_F(TlsEngine, OldVersionsAreRefused) {
  start(options());
  TlsPeer peer(connect(), TLS1_1_VERSION);
  SSL_set_security_level(peer.ssl(), 0);
  SSL_set_min_proto_version(peer.ssl(), TLS1_VERSION);
  EXPECT_FALSE(peer.connect());
  EXPECT_TRUE(wait([&] { return failures(TlsFailure::version) == 1; }));
}

TEST_F(TlsEngine, ThereIsNoRenegotiation) {
  start(options());
  TlsPeer peer(connect(), TLS1_2_VERSION);
  ASSERT_TRUE(peer.connect());
  ASSERT_EQ(SSL_renegotiate(peer.ssl()), 1);
  EXPECT_NE(SSL_do_handshake(peer.ssl()), 1);
  EXPECT_EQ(counters().handshakes, 1u);
}

TEST_F(TlsEngine, KeysCanBeUpdatedAtAnyTime) {
  start(options());
  TlsPeer peer(connect(true));
  ASSERT_TRUE(peer.connect());
  std::string expected;
  std::string received;
  for (std::uint64_t offset = 1; offset <= 50; ++offset) {
    ASSERT_EQ(SSL_key_update(peer.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    peer.send("x\n");
    append(offset);
    engine_->publish();
    expected += std::to_string(offset) + "\nx\n";
    while (received.size() < expected.size()) received += peer.receive();
  }
  EXPECT_EQ(received.size(), expected.size());
}

TEST_F(TlsEngine, AStalledHandshakeTimesOut) {
  auto with = options();
  with.worker.tls.handshake_timeout = 100ms;
  start(std::move(with));
  const Descriptor socket = connect();
  ASSERT_EQ(::send(socket.get(), "\x16\x03\x01", 3, 0), 3);
  EXPECT_EQ(read_all(socket), "");
  EXPECT_TRUE(wait([&] { return failures(TlsFailure::timed_out) == 1; }));
}

TEST_F(TlsEngine, AboveTheLimitTheOldestHandshakeEnds) {
  auto with = options();
  with.worker.tls.handshakes_max = 2;
  start(std::move(with));
  std::vector<Descriptor> stalled;
  for (int i = 0; i < 5; ++i) {
    stalled.push_back(connect());
    ASSERT_EQ(::send(stalled.back().get(), "\x16\x03\x01", 3, 0), 3);
  }
  TlsPeer peer(connect());
  EXPECT_TRUE(peer.connect());
  EXPECT_TRUE(wait([&] { return failures(TlsFailure::too_many) == 4; }));
  pollfd last{.fd = stalled.back().get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&last, 1, 0), 0);
}

TEST_F(TlsEngine, NewConnectionsUseTheNewContext) {
  start(options());
  TlsPeer before(connect());
  ASSERT_TRUE(before.connect());
  folder_.create("renewed.test", 24h * 365);
  engine_->set_tls_context(context("renewed.test"));
  TlsPeer after(connect());
  ASSERT_TRUE(after.connect());
  const auto is_for = [](TlsPeer& peer, const char* name) {
    return X509_check_host(SSL_get0_peer_certificate(peer.ssl()), name, 0, 0, nullptr) == 1;
  };
  EXPECT_TRUE(is_for(before, "gw.test"));
  EXPECT_TRUE(is_for(after, "renewed.test"));
  before.send("still there");
  EXPECT_EQ(before.receive(), "still there");
}

TEST_F(TlsEngine, ASlowReaderReceivesEveryMessageOrIsToldOfItsLoss) {
  constexpr std::uint64_t count = 20'000;
  auto with = options();
  with.worker.shard.client.backlog_bytes_max = 100'000;
  with.log.segment_bytes = 4096;
  start(std::move(with));
  TlsPeer peer(connect(true));
  ASSERT_TRUE(peer.connect());
  std::string received;
  for (std::uint64_t offset = 1; offset <= count; ++offset) {
    append(offset, offset % 60);
    if (offset % 7 == 0) engine_->publish();
    if (offset % 1000 == 0) received += peer.receive();
  }
  engine_->publish();
  ASSERT_TRUE(wait([&] { return engine_->counters().matched == count; }));
  const EngineCounters slow = engine_->counters();
  EXPECT_GT(slow.dropped, 0u);
  EXPECT_EQ(slow.matched, slow.delivered + slow.dropped + slow.pending);
  engine_->say_goodbye("drain");
  engine_->publish();
  received += peer.receive_all();
  EXPECT_TRUE(peer.ended());
  std::istringstream lines(received);
  std::uint64_t next = 1;
  std::uint64_t lost = 0;
  for (std::string line; std::getline(lines, line) && line != "bye drain";) {
    std::istringstream in(line.starts_with('!') ? line.substr(1) : line);
    std::uint64_t first = 0;
    ASSERT_TRUE(in >> first) << line;
    std::uint64_t last = first;
    if (line.starts_with('!')) in >> last;
    ASSERT_EQ(first, next) << line;
    lost += line.starts_with('!') ? last - first + 1 : 0;
    next = last + 1;
  }
  EXPECT_EQ(next, count + 1);
  const EngineCounters all = engine_->counters();
  EXPECT_EQ(all.dropped, lost);
  EXPECT_EQ(all.delivered, count - lost);
  EXPECT_EQ(all.pending, 0u);
}

}  // namespace
}  // namespace backplane::fanout
