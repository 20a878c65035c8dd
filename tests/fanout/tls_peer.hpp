#pragma once
// Certificates in files, and a client that uses TLS.

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <openssl/ssl.h>

#include "core/process/descriptor.hpp"

namespace backplane::fanout {

/// A folder with files that only this user can read. Deletes it.
class CertificateFolder {
 public:
  CertificateFolder();
  ~CertificateFolder();
  CertificateFolder(const CertificateFolder&) = delete;
  CertificateFolder& operator=(const CertificateFolder&) = delete;

  /// Creates NAME.pem and NAME.key: a certificate for the host NAME, signed by itself, valid from an hour
  /// ago.
  void create(const std::string& name, std::chrono::hours valid, bool authority = false) const;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// A blocking client that accepts any certificate of the server. Errors fail the test.
class TlsPeer {
 public:
  /// @param certificate PEM files NAME.pem and NAME.key without their endings; empty: none
  explicit TlsPeer(Descriptor socket, int version_max = TLS1_3_VERSION, const std::string& certificate = {});

  /// @returns whether the handshake was successful
  [[nodiscard]] bool connect();
  void send(std::string_view bytes);
  /// Reads once. @returns the bytes; empty at TLS's end of the input, or after an error
  [[nodiscard]] std::string receive();
  /// Reads until TLS's end of the input.
  [[nodiscard]] std::string receive_all();
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  [[nodiscard]] SSL* ssl() noexcept { return ssl_.get(); }
  [[nodiscard]] Descriptor& socket() noexcept { return socket_; }

 private:
  struct FreeContext {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
  };
  struct FreeConnection {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
  };

  Descriptor socket_;
  std::unique_ptr<SSL_CTX, FreeContext> context_;
  std::unique_ptr<SSL, FreeConnection> ssl_;
  bool ended_{};  ///< TLS's end has come
};

}  // namespace backplane::fanout
