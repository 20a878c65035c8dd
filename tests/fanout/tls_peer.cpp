#include "tests/fanout/tls_peer.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace backplane::fanout {
namespace {

void add_extension(X509* certificate, int kind, const std::string& value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  ASSERT_NE(extension, nullptr) << value;
  ASSERT_EQ(X509_add_ext(certificate, extension, -1), 1);
  X509_EXTENSION_free(extension);
}

}  // namespace

CertificateFolder::CertificateFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "backplane-tls-XXXXXX").string();
  EXPECT_NE(::mkdtemp(name.data()), nullptr);
  path_ = name;
}

CertificateFolder::~CertificateFolder() {
  std::filesystem::remove_all(path_);
}

void CertificateFolder::create(const std::string& name, std::chrono::hours valid, bool authority) const {
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const certificate = X509_new();
  ASSERT_NE(key, nullptr);
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), std::chrono::seconds(valid).count());
  X509_set_pubkey(certificate, key);
  X509_NAME* const subject = X509_get_subject_name(certificate);
  const auto* const text = reinterpret_cast<const unsigned char*>(name.c_str());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, text, -1, -1, 0);
  X509_set_issuer_name(certificate, subject);
  add_extension(certificate, NID_subject_alt_name, "DNS:" + name);
  if (authority) add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
  ASSERT_GT(X509_sign(certificate, key, EVP_sha256()), 0);
  const auto write = [&](const std::string& file, const auto& content) {
    std::FILE* const out = std::fopen(this->file(file).c_str(), "wb");
    ASSERT_NE(out, nullptr);
    content(out);
    std::fclose(out);
    std::filesystem::permissions(path_ / file,
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  };
  write(name + ".pem", [&](std::FILE* out) { PEM_write_X509(out, certificate); });
  write(name + ".key",
        [&](std::FILE* out) { PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr); });
  X509_free(certificate);
  EVP_PKEY_free(key);
}

TlsPeer::TlsPeer(Descriptor socket, int version_max, const std::string& certificate)
    : socket_(std::move(socket)), context_(SSL_CTX_new(TLS_client_method())) {
  SSL_CTX_set_max_proto_version(context_.get(), version_max);
  if (!certificate.empty()) {
    EXPECT_EQ(SSL_CTX_use_certificate_file(context_.get(), (certificate + ".pem").c_str(), SSL_FILETYPE_PEM),
              1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_.get(), (certificate + ".key").c_str(), SSL_FILETYPE_PEM),
              1);
  }
  ssl_.reset(SSL_new(context_.get()));
  SSL_set_fd(ssl_.get(), socket_.get());
}

bool TlsPeer::connect() {
  ERR_clear_error();
  return SSL_connect(ssl_.get()) == 1;
}

void TlsPeer::send(std::string_view bytes) {
  EXPECT_EQ(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())),
            static_cast<int>(bytes.size()));
}

std::string TlsPeer::receive() {
  std::array<char, 16'384> buffer;
  ERR_clear_error();
  const int got = SSL_read(ssl_.get(), buffer.data(), static_cast<int>(buffer.size()));
  if (got > 0) return {buffer.data(), static_cast<std::size_t>(got)};
  ended_ = SSL_get_error(ssl_.get(), got) == SSL_ERROR_ZERO_RETURN;
  return {};
}

std::string TlsPeer::receive_all() {
  std::string all;
  for (std::string piece = receive(); !piece.empty(); piece = receive()) all += piece;
  return all;
}

}  // namespace backplane::fanout
