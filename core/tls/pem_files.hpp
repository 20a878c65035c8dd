#pragma once
// Certificates and private keys in PEM files.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"

struct asn1_string_st;
struct evp_pkey_st;
struct x509_st;

namespace backplane::tls {

struct FreeCertificate {
  void operator()(x509_st* certificate) const noexcept;
};
using Certificate = std::unique_ptr<x509_st, FreeCertificate>;

struct FreePrivateKey {
  void operator()(evp_pkey_st* key) const noexcept;
};
using PrivateKey = std::unique_ptr<evp_pkey_st, FreePrivateKey>;

/// Reads all certificates in the file, at least one. A file that other users can write is refused.
/// @returns an error that begins with the file's name: `gw.pem: expected a certificate in PEM, got none`.
Result<std::vector<Certificate>> read_certificates(const std::string& file);

/// Reads a private key. A file that other users can read or write is refused, and so is a key with a
/// passphrase. Errors begin with the file's name and never contain any of the key.
Result<PrivateKey> read_private_key(const std::string& file);

/// An error of these files: `gw.pem: expected <what>, got <got>`. Forgets OpenSSL's errors.
tl::unexpected<Error> expected(const std::string& file, std::string_view what, std::string_view got);

/// OpenSSL's reason for this thread's last error, and nothing else of it. Forgets all of them.
[[nodiscard]] std::string take_reason();

/// A time in a certificate; the epoch if it cannot be read.
[[nodiscard]] std::chrono::system_clock::time_point as_time(const asn1_string_st* time);

/// `2027-01-31 12:00 UTC`
[[nodiscard]] std::string utc_text(std::chrono::system_clock::time_point time);

}  // namespace backplane::tls
