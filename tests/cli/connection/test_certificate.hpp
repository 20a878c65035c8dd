#pragma once
// Certificates for tests, signed by themselves.

#include <chrono>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace backplane::cli {

/// A certificate with its key. `names` are as in subjectAltName: `DNS:gw.test,IP:127.0.0.1`.
class TestCertificate {
 public:
  explicit TestCertificate(const std::string& names, std::chrono::hours from = std::chrono::hours{-1},
                           std::chrono::hours until = std::chrono::hours{24})
      : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    X509* const made = certificate_.get();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    X509_gmtime_adj(X509_getm_notBefore(made), std::chrono::seconds(from).count());
    X509_gmtime_adj(X509_getm_notAfter(made), std::chrono::seconds(until).count());
    X509_set_pubkey(made, key_.get());
    X509_NAME* const subject = X509_get_subject_name(made);
    const std::string text = "test";
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(text.c_str()), -1, -1, 0);
    X509_set_issuer_name(made, subject);
    X509V3_CTX context{};
    X509V3_set_ctx(&context, made, made, nullptr, nullptr, 0);
    X509_EXTENSION* const extension =
        X509V3_EXT_conf_nid(nullptr, &context, NID_subject_alt_name, names.c_str());
    EXPECT_EQ(X509_add_ext(made, extension, -1), 1);
    X509_EXTENSION_free(extension);
    EXPECT_GT(X509_sign(made, key_.get(), EVP_sha256()), 0);
  }

  [[nodiscard]] X509* certificate() const { return certificate_.get(); }
  [[nodiscard]] EVP_PKEY* key() const { return key_.get(); }
  [[nodiscard]] std::string certificate_pem() const {
    return pem([&](BIO* bio) { PEM_write_bio_X509(bio, certificate_.get()); });
  }
  [[nodiscard]] std::string key_pem() const {
    return pem(
        [&](BIO* bio) { PEM_write_bio_PrivateKey(bio, key_.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  }

 private:
  struct Free {
    void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
    void operator()(X509* certificate) const noexcept { X509_free(certificate); }
    void operator()(BIO* bio) const noexcept { BIO_free(bio); }
  };

  template <class Write>
  static std::string pem(Write write) {
    const std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
    write(bio.get());
    std::string text(static_cast<std::size_t>(BIO_pending(bio.get())), '\0');
    EXPECT_EQ(BIO_read(bio.get(), text.data(), static_cast<int>(text.size())), static_cast<int>(text.size()));
    return text;
  }

  std::unique_ptr<EVP_PKEY, Free> key_;
  std::unique_ptr<X509, Free> certificate_;
};

}  // namespace backplane::cli
