#include "cli/connection/tls_connection.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

namespace backplane::cli {
namespace {

constexpr char alert_record = 0x15;
constexpr char handshake_record = 0x16;

/// The alert that the server has sent, if that is the error.
std::optional<int> alert_of(unsigned long error) {
  const int reason = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) != ERR_LIB_SSL || reason < SSL_AD_REASON_OFFSET) return std::nullopt;
  return reason - SSL_AD_REASON_OFFSET;
}

Error describe_alert(int alert, bool has_certificate) {
  const std::string text = SSL_alert_desc_string_long(alert);
  switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_DECRYPT_ERROR:
    case SSL_AD_CERTIFICATE_REQUIRED:
      return {ErrorCode::protocol,
              has_certificate
                  ? fmt::format("it does not accept this client's certificate (TLS alert: {})", text)
                  : fmt::format("it requires a certificate: --tls-certificate and --tls-key (TLS alert: {})",
                                text)};
    case SSL_AD_PROTOCOL_VERSION:
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_INSUFFICIENT_SECURITY:
      return {
          ErrorCode::protocol,
          fmt::format("it and this client have no TLS version or cipher in common (TLS alert: {})", text)};
    case SSL_AD_INTERNAL_ERROR:
      return {ErrorCode::unavailable,
              fmt::format("it refused the connection; it may have too many (TLS alert: {})", text)};
    default:
      return {ErrorCode::protocol, fmt::format("it refused the connection (TLS alert: {})", text)};
  }
}

bool may_continue(int error) {
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

Error not_tls() {
  return {ErrorCode::protocol,
          "the server there does not use TLS; to connect without TLS, omit --tls and --ca, and unset "
          "BACKPLANE_CA_FILE"};
}

}  // namespace

Result<std::unique_ptr<TlsConnection>> TlsConnection::open(TcpConnection socket,
                                                           std::shared_ptr<const TlsClient> client,
                                                           const std::string& host, Waiter& waiter,
                                                           Clock::time_point until) {
  std::unique_ptr<TlsConnection> connection(new TlsConnection(std::move(socket), std::move(client), host));
  if (auto done = connection->shake_hands(waiter, until); !done) return tl::unexpected(done.error());
  return connection;
}

TlsConnection::TlsConnection(TcpConnection socket, std::shared_ptr<const TlsClient> client,
                             const std::string& host)
    : socket_(std::move(socket)),
      client_(std::move(client)),
      check_{host},
      ssl_(client_->connect(check_)),
      reading_needs_(SSL_ERROR_WANT_READ) {
  BIO* const nothing = BIO_new(BIO_s_mem());  // until begin_reading()
  BIO* const output = BIO_new_socket(socket_.fd(), BIO_NOCLOSE);
  CHECK(nothing != nullptr && output != nullptr, "there is memory for a connection");
  SSL_set_bio(ssl_.get(), nothing, output);
}

TlsConnection::~TlsConnection() {
  ERR_clear_error();
  if (!end_ && SSL_is_init_finished(ssl_.get()) == 1) (void)SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

Result<void> TlsConnection::shake_hands(Waiter& waiter, Clock::time_point until) {
  bool reading = false;
  for (;;) {
    ERR_clear_error();
    errno = 0;
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) return {};
    const int error = SSL_get_error(ssl_.get(), result);
    if (!may_continue(error)) return tl::unexpected(*(end_ = describe_failure(error)));
    if (waiter.stopped()) return fail(ErrorCode::unavailable, "interrupted");
    if (Clock::now() >= until) {
      return fail(ErrorCode::timeout, "the server there does not complete the handshake; does it use TLS?");
    }
    wait_for(error, waiter, until);
    if (reading) continue;
    auto begun = begin_reading();
    if (!begun) return tl::unexpected(begun.error());
    reading = *begun;
  }
}

/// Lets OpenSSL read what the server sends, as soon as the first byte shows that it is TLS. OpenSSL itself
/// would wait for more bytes than a server of another protocol may send.
/// @returns false: nothing has come yet.
Result<bool> TlsConnection::begin_reading() {
  char first{};
  const ssize_t got = ::recv(socket_.fd(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got == 1 && first != handshake_record && first != alert_record) return tl::unexpected(not_tls());
  BIO* const input = BIO_new_socket(socket_.fd(), BIO_NOCLOSE);
  CHECK(input != nullptr, "there is memory for a connection");
  SSL_set0_rbio(ssl_.get(), input);
  return true;
}

void TlsConnection::wait_for(int error, Waiter& waiter, Clock::time_point until) const {
  if (error == SSL_ERROR_WANT_WRITE) {
    (void)waiter.wait_writable(socket_.fd(), until);
    return;
  }
  const std::array fds{socket_.fd()};
  (void)waiter.wait(fds, until);
}

/// Why the handshake, sending or receiving has ended. Forgets OpenSSL's errors.
/// @param error  of SSL_get_error()
Error TlsConnection::describe_failure(int error) const {
  const int system_error = errno;
  const unsigned long first = ERR_peek_error();
  ERR_clear_error();
  if (!check_.problem.empty()) return {ErrorCode::protocol, check_.problem};
  if (error == SSL_ERROR_ZERO_RETURN) return {ErrorCode::unavailable, "the connection was closed"};
  if (first == 0 && system_error != 0) {
    return {ErrorCode::unavailable, fmt::format("the connection was lost: {}", std::strerror(system_error))};
  }
  // Without TLS's own end, somebody else may have ended it.
  if (first == 0) return {ErrorCode::unavailable, "the connection was cut off"};
  if (const auto alert = alert_of(first)) return describe_alert(*alert, client_->has_certificate());
  switch (ERR_GET_REASON(first)) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return {ErrorCode::unavailable, "the connection was cut off"};
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
      return not_tls();
    case SSL_R_UNSUPPORTED_PROTOCOL:
      return {ErrorCode::protocol, "the server there supports neither TLS 1.2 nor TLS 1.3"};
    default:
      break;
  }
  const char* const reason = ERR_reason_error_string(first);
  return {ErrorCode::protocol, fmt::format("TLS failed: {}", reason != nullptr ? reason : "unknown error")};
}

Result<void> TlsConnection::send(std::string_view bytes, Waiter& waiter, Clock::time_point until) {
  while (!bytes.empty()) {
    if (end_) return fail(ErrorCode::io, end_->text);
    std::size_t sent = 0;
    ERR_clear_error();
    errno = 0;
    const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &sent);
    if (result == 1) {
      bytes.remove_prefix(sent);
      continue;
    }
    const int error = SSL_get_error(ssl_.get(), result);
    if (!may_continue(error)) {
      end_ = describe_failure(error);
      more_ = true;
    } else if (waiter.stopped() || Clock::now() >= until) {
      return fail(ErrorCode::timeout, "the peer does not read");
    } else {
      wait_for(error, waiter, until);
    }
  }
  return {};
}

Result<std::size_t> TlsConnection::receive(std::span<char> into) {
  if (end_) return tl::unexpected(*end_);
  std::size_t received = 0;
  more_ = false;
  while (received < into.size()) {
    std::size_t got = 0;
    ERR_clear_error();
    errno = 0;
    const int result = SSL_read_ex(ssl_.get(), into.data() + received, into.size() - received, &got);
    received += got;
    if (result == 1) continue;
    const int error = SSL_get_error(ssl_.get(), result);
    if (may_continue(error)) {
      reading_needs_ = error;
      return received;
    }
    end_ = describe_failure(error);
    if (received == 0) return tl::unexpected(*end_);
    break;
  }
  more_ = true;
  return received;
}

void TlsConnection::wait_input(Waiter& waiter, Clock::time_point until) {
  if (more_) return (void)waiter.wait({}, Clock::time_point::min());
  wait_for(reading_needs_, waiter, until);
}

}  // namespace backplane::cli
