#pragma once
// What all TLS connections of a server have in common: certificates, keys and rules.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"

struct ssl_st;
struct ssl_ctx_st;
struct x509_st;

namespace backplane::fanout {

/// Files in PEM.
struct TlsFiles {
  /// Each: the server's certificate, then those between it and the root. A client that names a host (SNI)
  /// gets the first one that is valid for the host; every other client gets the first of the list.
  std::vector<std::string> certificates;
  std::vector<std::string> keys;  ///< of the certificates, in their order
  /// The authorities that sign certificates of clients; empty: clients are not asked for any.
  std::string client_ca;
};

struct FreeSsl {
  void operator()(ssl_st* ssl) const noexcept;
};
using SslPointer = std::unique_ptr<ssl_st, FreeSsl>;

/// Certificates and keys, with the rules for connections: TLS 1.2 and 1.3, no renegotiation, no early data,
/// and no ciphers without forward secrecy. Immutable; any thread. Must outlive the handshakes of its
/// connections.
class TlsContext {
 public:
  using SystemClock = std::chrono::system_clock;

  /// Reads all files. @returns an error that begins with the name of the file, and never contains any of the
  /// key: `gw.key: expected the key of gw.pem, got another one`.
  static Result<std::shared_ptr<const TlsContext>> load(const TlsFiles& files);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  /// The server's side of a new connection; nullptr: out of memory.
  [[nodiscard]] SslPointer accept() const noexcept;
  /// Whether a certificate is valid for this host name or address (without brackets or a port).
  [[nodiscard]] bool has_name(std::string_view host) const;
  /// When the first of the server's certificates expires.
  [[nodiscard]] SystemClock::time_point expires() const noexcept { return expires_; }
  /// A line for each certificate that is not valid at `now`, or not valid any longer in 14 days.
  [[nodiscard]] std::vector<std::string> warnings(SystemClock::time_point now) const;

 private:
  struct FreeContext {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  struct Entry {
    std::unique_ptr<ssl_ctx_st, FreeContext> context;
    x509_st* certificate{};  ///< the context's
  };
  struct Validity {
    std::string file;
    SystemClock::time_point from;
    SystemClock::time_point until;
  };

  TlsContext() = default;
  Result<void> add(const std::string& certificate, const std::string& key);
  Result<void> add_client_ca(const std::string& file);
  /// Adds the time in which `certificate` is valid.
  Validity& note_validity(const std::string& file, x509_st* certificate);
  static int on_server_name(ssl_st* ssl, int* alert, void* entries);

  std::vector<Entry> entries_;
  std::vector<Validity> validities_;
  SystemClock::time_point expires_{SystemClock::time_point::max()};
};

/// The common name of the client's certificate, which has been verified. Empty if the client has none, or if
/// its certificate does not have exactly one name of 1 to 256 printable characters.
[[nodiscard]] std::string peer_common_name(const ssl_st& ssl);

}  // namespace backplane::fanout
