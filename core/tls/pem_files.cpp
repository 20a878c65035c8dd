#include "core/tls/pem_files.hpp"

#include <array>
#include <ctime>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "core/credentials/protected_file.hpp"
#include "core/log/escape.hpp"

namespace backplane::tls {
namespace {

constexpr std::size_t file_bytes_max = 1u << 20;

struct FreeBio {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

Bio memory(const std::string& content) {
  return Bio(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
}

/// Never waits for a passphrase on the terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

}  // namespace

void FreeCertificate::operator()(x509_st* certificate) const noexcept {
  X509_free(certificate);
}

void FreePrivateKey::operator()(evp_pkey_st* key) const noexcept {
  EVP_PKEY_free(key);
}

Result<std::vector<Certificate>> read_certificates(const std::string& file) {
  const auto content = read_protected_file(file, OthersMay::read, file_bytes_max);
  if (!content) return tl::unexpected(content.error());
  const Bio bio = memory(*content);
  std::vector<Certificate> all;
  ERR_clear_error();
  while (X509* const each = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) all.emplace_back(each);
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!at_end) {
    return expected(file, "certificates in PEM", fmt::format("a damaged one ({})", take_reason()));
  }
  if (all.empty()) return expected(file, "a certificate in PEM", "none");
  ERR_clear_error();
  return all;
}

Result<PrivateKey> read_private_key(const std::string& file) {
  auto content = read_protected_file(file, OthersMay::nothing, file_bytes_max);
  if (!content) return tl::unexpected(content.error());
  PrivateKey key(PEM_read_bio_PrivateKey(memory(*content).get(), nullptr, &no_passphrase, nullptr));
  const bool encrypted = content->find("ENCRYPTED") != std::string::npos;
  OPENSSL_cleanse(content->data(), content->size());
  if (key) return key;
  return expected(file, "a private key in PEM without a passphrase",
                  encrypted ? "an encrypted one" : "none, or a damaged one");
}

tl::unexpected<Error> expected(const std::string& file, std::string_view what, std::string_view got) {
  ERR_clear_error();
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected {}, got {}", log::escape(file), what, got));
}

std::string take_reason() {
  const unsigned long error = ERR_peek_last_error();
  const char* const text = ERR_reason_error_string(error);
  ERR_clear_error();
  return text != nullptr ? text : "unknown error";
}

std::chrono::system_clock::time_point as_time(const asn1_string_st* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

std::string utc_text(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts);
  return {text.data(), size};
}

}  // namespace backplane::tls
