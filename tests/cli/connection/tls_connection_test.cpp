// A TLS connection of a command, against a server that uses OpenSSL directly.

#include "cli/connection/tls_connection.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "tests/cli/connection/test_certificate.hpp"
#include "tests/core/credentials/temporary_folder.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using Clock = Waiter::Clock;

constexpr std::chrono::seconds step_limit = 30s;

/// Accepts one connection on a thread of its own, and serves it.
class Server {
 public:
  using Serve = std::function<void(int socket)>;

  explicit Server(Serve serve) {
    listener_ = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener_.get(), generic, size), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    EXPECT_EQ(::getsockname(listener_.get(), generic, &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, serve = std::move(serve)] {
      const Descriptor socket(::accept(listener_.get(), nullptr, nullptr));
      const timeval limit{.tv_sec = step_limit.count(), .tv_usec = 0};
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
      serve(socket.get());
    });
  }
  ~Server() { join(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void join() {
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] HostPort place() const { return {"127.0.0.1", port_}; }

 private:
  Descriptor listener_;
  std::uint16_t port_{};
  std::thread thread_;
};

struct FreeServerContext {
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};

/// Serves with TLS; `serve` is called after the handshake.
Server::Serve with_tls(const TestCertificate& certificate, std::function<void(SSL*)> serve,
                       int version = TLS1_3_VERSION) {
  return [&certificate, serve = std::move(serve), version](int socket) {
    const std::unique_ptr<SSL_CTX, FreeServerContext> context(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_set_max_proto_version(context.get(), version);
    SSL_CTX_use_certificate(context.get(), certificate.certificate());
    SSL_CTX_use_PrivateKey(context.get(), certificate.key());
    const SslPointer ssl(SSL_new(context.get()));
    SSL_set_fd(ssl.get(), socket);
    if (SSL_accept(ssl.get()) == 1 && serve) serve(ssl.get());
  };
}

void write(SSL* ssl, std::string_view bytes) {
  EXPECT_EQ(SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size())), static_cast<int>(bytes.size()));
}

std::string read(SSL* ssl, std::size_t size) {
  std::string bytes(size, '\0');
  std::size_t got = 0;
  while (got < size) {
    const int more = SSL_read(ssl, bytes.data() + got, static_cast<int>(size - got));
    if (more <= 0) break;
    got += static_cast<std::size_t>(more);
  }
  bytes.resize(got);
  return bytes;
}

/// Bytes that do not repeat at any power of two.
std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>('a' + i % 23);
  return bytes;
}

class TlsConnectionTest : public testing::Test {
 protected:
  TlsConnectionTest() { std::signal(SIGPIPE, SIG_IGN); }

  Result<std::unique_ptr<TlsConnection>> try_connect(const Server& server, const std::string& host,
                                                     const TestCertificate& trusted,
                                                     Clock::duration limit = step_limit) {
    const auto client = TlsClient::load({.ca = folder_.write("ca.pem", trusted.certificate_pem(), 0644)});
    EXPECT_TRUE(client) << client.error().text;
    auto socket = TcpConnection::open(server.place(), waiter_, Clock::now() + step_limit);
    EXPECT_TRUE(socket) << socket.error().text;
    return TlsConnection::open(std::move(*socket), *client, host, waiter_, Clock::now() + limit);
  }
  std::unique_ptr<TlsConnection> connect(const Server& server) {
    auto connection = try_connect(server, "gw.test", certificate_);
    EXPECT_TRUE(connection) << connection.error().text;
    return std::move(*connection);
  }
  /// What try_connect() says about it.
  std::string problem_with(const TestCertificate& certificate, const std::string& host,
                           const TestCertificate& trusted) {
    const Server server(with_tls(certificate, {}));
    const auto connection = try_connect(server, host, trusted);
    if (connection) return "";
    EXPECT_EQ(connection.error().code, ErrorCode::protocol);
    return connection.error().text;
  }
  std::string problem_with(const TestCertificate& certificate, const std::string& host) {
    return problem_with(certificate, host, certificate);
  }

  /// Receives `size` bytes in pieces of at most `piece`, as a command does.
  std::string receive(TlsConnection& connection, std::size_t size, std::size_t piece = 4096) {
    std::string all;
    std::string buffer(piece, '\0');
    const auto until = Clock::now() + step_limit;
    while (all.size() < size && Clock::now() < until) {
      const auto got = connection.receive(buffer);
      if (!got) {
        ADD_FAILURE() << got.error().text;
        break;
      }
      all.append(buffer, 0, *got);
      if (all.size() < size) connection.wait_input(waiter_, until);
    }
    return all;
  }
  /// How the connection ends, after `expected`.
  std::string end_after(TlsConnection& connection, const std::string& expected) {
    EXPECT_EQ(receive(connection, expected.size()), expected);
    std::array<char, 100> buffer{};
    const auto until = Clock::now() + step_limit;
    for (;;) {
      const auto got = connection.receive(buffer);
      if (!got) return got.error().text;
      if (*got > 0 || Clock::now() >= until) return "no end";
      connection.wait_input(waiter_, until);
    }
  }

  TestCertificate certificate_{"DNS:gw.test,IP:127.0.0.1,IP:::1"};
  TemporaryFolder folder_;
  Waiter waiter_;
};

TEST_F(TlsConnectionTest, ReceivesWhatTheSocketDoesNotShowAnyMore) {
  const std::string sent = pattern(64u * 16'384);  // whole records, of which each piece is only a part
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Server server(with_tls(
        certificate_,
        [&](SSL* ssl) {
          write(ssl, sent);
          EXPECT_EQ(read(ssl, 4), "done");
        },
        version));
    const auto connection = connect(server);
    EXPECT_EQ(receive(*connection, sent.size(), 1000), sent);
    EXPECT_TRUE(connection->send("done", waiter_, Clock::now() + step_limit));
    server.join();
  }
}

TEST_F(TlsConnectionTest, SendsMoreThanTheServerReadsAtOnce) {
  const std::string sent = pattern(8'000'000);
  Server server(with_tls(certificate_, [&](SSL* ssl) { EXPECT_EQ(read(ssl, sent.size()), sent); }));
  const auto connection = connect(server);
  EXPECT_TRUE(connection->send(sent, waiter_, Clock::now() + step_limit));
  server.join();
}

TEST_F(TlsConnectionTest, ChangesItsKeysIfTheServerWishes) {
  Server server(with_tls(certificate_, [&](SSL* ssl) {
    EXPECT_EQ(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    write(ssl, "new keys");
    EXPECT_EQ(read(ssl, 5), "reply");
    EXPECT_EQ(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    write(ssl, "again");
  }));
  const auto connection = connect(server);
  EXPECT_EQ(receive(*connection, 8), "new keys");
  EXPECT_TRUE(connection->send("reply", waiter_, Clock::now() + step_limit));
  EXPECT_EQ(receive(*connection, 5), "again");
  server.join();
}

TEST_F(TlsConnectionTest, DoesNotRenegotiate) {
  Server server(with_tls(
      certificate_,
      [&](SSL* ssl) {
        SSL_renegotiate(ssl);
        SSL_do_handshake(ssl);  // asks for it
        write(ssl, "data");
        EXPECT_EQ(read(ssl, 5).size(), 0u) << "an alert, no handshake";
        EXPECT_EQ(SSL_num_renegotiations(ssl), 1);
      },
      TLS1_2_VERSION));
  const auto connection = connect(server);
  EXPECT_EQ(receive(*connection, 4), "data");
  server.join();
}

TEST_F(TlsConnectionTest, WhatCameBeforeTheEndIsReceived) {
  const std::string sent = pattern(100'000);
  Server orderly(with_tls(certificate_, [&](SSL* ssl) {
    write(ssl, sent);
    SSL_shutdown(ssl);
  }));
  EXPECT_EQ(end_after(*connect(orderly), sent), "the connection was closed");
  Server abrupt(with_tls(certificate_, [&](SSL* ssl) { write(ssl, sent); }));
  EXPECT_EQ(end_after(*connect(abrupt), sent), "the connection was cut off");
}

TEST_F(TlsConnectionTest, SendingAfterTheEndIsAnError) {
  Server server(with_tls(certificate_, [](SSL* ssl) { SSL_shutdown(ssl); }));
  const auto connection = connect(server);
  server.join();
  const auto until = Clock::now() + step_limit;
  Result<void> sent;
  while (sent && Clock::now() < until) sent = connection->send(pattern(1000), waiter_, until);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::io);
}

TEST_F(TlsConnectionTest, TheServerLearnsOfTheEnd) {
  Server server(with_tls(certificate_, [](SSL* ssl) {
    char byte{};
    const int got = SSL_read(ssl, &byte, 1);
    EXPECT_EQ(SSL_get_error(ssl, got), SSL_ERROR_ZERO_RETURN);
  }));
  connect(server).reset();
  server.join();
}

TEST_F(TlsConnectionTest, TheCertificateMustBeValidForTheHost) {
  for (const char* host : {"gw.test", "GW.TEST", "gw.test.", "127.0.0.1", "::1", "0:0::1", "::1%lo"}) {
    EXPECT_EQ(problem_with(certificate_, host), "") << host;
  }
  EXPECT_EQ(problem_with(certificate_, "other.test"),
            "its certificate is for gw.test, 127.0.0.1, ::1, not for other.test");
  EXPECT_EQ(problem_with(certificate_, "127.0.0.2"),
            "its certificate is for gw.test, 127.0.0.1, ::1, not for 127.0.0.2");
  // An address is compared with addresses, and the common name is not used.
  EXPECT_THAT(problem_with(TestCertificate("DNS:127.0.0.1"), "127.0.0.1"), HasSubstr("not for 127.0.0.1"));
  EXPECT_EQ(problem_with(TestCertificate("email:x@gw.test"), "test"),
            "its certificate is for no host (it has no subjectAltName), not for test");
  const TestCertificate wildcard("DNS:*.gw.test");
  EXPECT_EQ(problem_with(wildcard, "a.gw.test"), "");
  EXPECT_THAT(problem_with(wildcard, "b.a.gw.test"), HasSubstr("not for b.a.gw.test"));
}

TEST_F(TlsConnectionTest, TheServerLearnsTheNameOfTheHostButNoAddress) {
  for (const auto& [host, name] : {std::pair{"gw.test", "gw.test"}, {"127.0.0.1", ""}, {"::1", ""}}) {
    std::string got;
    Server server(with_tls(certificate_, [&](SSL* ssl) {
      const char* const sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
      if (sent != nullptr) got = sent;
    }));
    EXPECT_TRUE(try_connect(server, host, certificate_));
    server.join();
    EXPECT_EQ(got, name);
  }
}

TEST_F(TlsConnectionTest, TheCertificateMustBeValidNow) {
  EXPECT_THAT(
      problem_with(TestCertificate("DNS:gw.test", -48h, -24h), "gw.test"),
      AllOf(StartsWith("its certificate expired on 20"), HasSubstr(" UTC; this machine's clock shows 20")));
  EXPECT_THAT(problem_with(TestCertificate("DNS:gw.test", 24h, 48h), "gw.test"),
              AllOf(StartsWith("its certificate is not valid before 20"), HasSubstr("compare the clocks")));
}

TEST_F(TlsConnectionTest, TheCertificateMustBeTrusted) {
  EXPECT_THAT(problem_with(TestCertificate("DNS:gw.test"), "gw.test", certificate_),
              AllOf(StartsWith("its certificate is sig"), HasSubstr("ca.pem")));
}

TEST_F(TlsConnectionTest, AServerWithoutTlsIsRecognisedByItsFirstByte) {
  for (const char* greeting : {"-ERR no_tls\n", "S", "HTTP/1.1 400 Bad Request\r\n\r\n", "!"}) {
    const Server server([&](int socket) {
      EXPECT_GT(::send(socket, greeting, std::string_view(greeting).size(), MSG_NOSIGNAL), 0);
      char byte{};
      while (::recv(socket, &byte, 1, 0) > 0) {
      }
    });
    const auto connection = try_connect(server, "gw.test", certificate_);
    ASSERT_FALSE(connection);
    EXPECT_THAT(connection.error().text, StartsWith("the server there does not use TLS"));
    EXPECT_EQ(connection.error().code, ErrorCode::protocol);
  }
}

TEST_F(TlsConnectionTest, ASilentServerIsATimeoutAndOneThatClosesIsUnavailable) {
  const auto read_all = [](int socket) {
    std::array<char, 1000> bytes{};
    while (::recv(socket, bytes.data(), bytes.size(), 0) > 0) {
    }
  };
  {
    const Server silent(read_all);
    const auto connection = try_connect(silent, "gw.test", certificate_, 50ms);
    ASSERT_FALSE(connection);
    EXPECT_EQ(connection.error().code, ErrorCode::timeout);
  }
  const Server closes([](int socket) {
    char byte{};
    EXPECT_EQ(::recv(socket, &byte, 1, 0), 1);
  });
  const auto connection = try_connect(closes, "gw.test", certificate_);
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().code, ErrorCode::unavailable);
}

TEST_F(TlsConnectionTest, TheHandshakeEndsIfTheCommandDoes) {
  Waiter stopped;
  Server server([](int socket) {
    char byte{};
    (void)::recv(socket, &byte, 1, 0);
  });
  const auto client = TlsClient::load({.ca = folder_.write("ca.pem", certificate_.certificate_pem(), 0644)});
  auto socket = TcpConnection::open(server.place(), waiter_, Clock::now() + step_limit);
  ASSERT_TRUE(socket && client);
  stopped.stop();
  const auto connection =
      TlsConnection::open(std::move(*socket), *client, "gw.test", stopped, Clock::now() + step_limit);
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().text, "interrupted");
}

TEST(TlsClientFilesTest, AnErrorNamesTheFile) {
  const TemporaryFolder folder;
  const TestCertificate own("DNS:me");
  const TestCertificate other("DNS:other");
  const auto write = [&](const char* name, const std::string& text, mode_t mode) {
    return folder.write(name, text, mode).string();
  };
  const std::string certificate = write("me.pem", own.certificate_pem(), 0644);
  const std::string key = write("me.key", own.key_pem(), 0600);
  const auto error = [](const TlsClientFiles& files) {
    const auto client = TlsClient::load(files);
    return client ? std::string() : client.error().text;
  };
  EXPECT_EQ(error({}), "");
  EXPECT_EQ(error({.ca = certificate, .certificate = certificate, .key = key}), "");
  EXPECT_EQ(error({.ca = "/none.pem"}), "cannot read /none.pem: no such file");
  EXPECT_EQ(error({.ca = write("empty.pem", "", 0644)}),
            folder.path("empty.pem").string() + ": expected a certificate in PEM, got none");
  EXPECT_THAT(error({.ca = write("open.pem", own.certificate_pem(), 0666)}), HasSubstr("cannot write"));
  EXPECT_EQ(error({.certificate = certificate, .key = write("other.key", other.key_pem(), 0600)}),
            fmt::format("{}: expected the key of {}, got another one", folder.path("other.key").string(),
                        certificate));
  EXPECT_THAT(error({.certificate = certificate, .key = write("open.key", own.key_pem(), 0644)}),
              HasSubstr("can neither read nor write"));
}

}  // namespace
}  // namespace backplane::cli
