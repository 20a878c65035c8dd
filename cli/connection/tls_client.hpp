#pragma once
// What all TLS connections of a command have in common: whom it trusts, and its own certificate.

#include <memory>
#include <string>

#include "core/error/error.hpp"

struct ssl_st;
struct ssl_ctx_st;
struct x509_store_ctx_st;

namespace backplane::cli {

/// Files in PEM.
struct TlsClientFiles {
  std::string ca{};           ///< authorities that sign certificates of gateways; empty: those of the system
  std::string certificate{};  ///< the client's, then those between it and the root; empty: it has none
  std::string key{};          ///< of this certificate
};

struct FreeSsl {
  void operator()(ssl_st* ssl) const noexcept;
};
using SslPointer = std::unique_ptr<ssl_st, FreeSsl>;

/// Verifies the certificate of one server.
struct CertificateCheck {
  std::string host;       ///< a name or an address, without brackets, for which it must be valid
  std::string problem{};  ///< why it was not accepted; empty: it was, or there was none yet
};

/// The rules for connections to a gateway: TLS 1.2 and 1.3, without renegotiation; the gateway's certificate
/// must be valid for the host to which the command connects, and signed by an authority that it trusts.
/// Immutable. Must outlive its connections.
class TlsClient {
 public:
  /// Reads all files. @returns an error that begins with the name of the file.
  static Result<std::shared_ptr<const TlsClient>> load(const TlsClientFiles& files);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  /// The client's side of a new connection. Its handshake verifies by `check`, which must live as long.
  [[nodiscard]] SslPointer connect(CertificateCheck& check) const;

  [[nodiscard]] bool has_certificate() const noexcept { return !files_.certificate.empty(); }

 private:
  struct FreeContext {
    void operator()(ssl_ctx_st* context) const noexcept;
  };

  explicit TlsClient(const TlsClientFiles& files);
  Result<void> trust(const std::string& file);
  Result<void> use_certificate();
  static int on_certificate(int accepted, x509_store_ctx_st* verification);

  TlsClientFiles files_;
  std::unique_ptr<ssl_ctx_st, FreeContext> context_;
};

}  // namespace backplane::cli
