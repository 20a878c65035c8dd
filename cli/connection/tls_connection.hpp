#pragma once
// A connection with TLS.

#include <memory>
#include <optional>
#include <string>

#include "cli/connection/connection.hpp"
#include "cli/connection/tcp_connection.hpp"
#include "cli/connection/tls_client.hpp"

namespace backplane::cli {

/// A TCP connection to a server that has proved by TLS who it is. The process must ignore SIGPIPE.
class TlsConnection final : public Connection {
 public:
  /// Does the handshake on a new TCP connection. Blocks until `until` at most.
  /// @param host  for which the server's certificate must be valid
  /// @returns an error that does not name the server: protocol if its certificate is not accepted or it does
  ///          not use TLS as it must, unavailable or timeout if a retry may succeed.
  static Result<std::unique_ptr<TlsConnection>> open(TcpConnection socket,
                                                     std::shared_ptr<const TlsClient> client,
                                                     const std::string& host, Waiter& waiter,
                                                     Clock::time_point until);
  /// Tells the server, without waiting for it.
  ~TlsConnection() override;
  TlsConnection(const TlsConnection&) = delete;
  TlsConnection& operator=(const TlsConnection&) = delete;
  TlsConnection(TlsConnection&&) = delete;
  TlsConnection& operator=(TlsConnection&&) = delete;

  Result<void> send(std::string_view bytes, Waiter& waiter, Clock::time_point until) override;
  Result<std::size_t> receive(std::span<char> into) override;
  void wait_input(Waiter& waiter, Clock::time_point until) override;

 private:
  TlsConnection(TcpConnection socket, std::shared_ptr<const TlsClient> client, const std::string& host);
  Result<void> shake_hands(Waiter& waiter, Clock::time_point until);
  Result<bool> begin_reading();
  void wait_for(int error, Waiter& waiter, Clock::time_point until) const;
  [[nodiscard]] Error describe_failure(int error) const;

  TcpConnection socket_;
  std::shared_ptr<const TlsClient> client_;
  CertificateCheck check_;
  SslPointer ssl_;
  std::optional<Error> end_;  // why nothing more can be sent or received
  bool more_{};               // to receive at once: OpenSSL may have bytes that the socket does not show
  int reading_needs_{};       // SSL_ERROR_WANT_READ or SSL_ERROR_WANT_WRITE
};

}  // namespace backplane::cli
