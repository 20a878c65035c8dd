#include "cli/connection/tls_client.hpp"

#include <array>
#include <chrono>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "core/tls/pem_files.hpp"

namespace backplane::cli {
namespace {

/// The names of a certificate that an error lists.
constexpr std::size_t names_max = 5;
// For TLS 1.2, as at the gateway.
constexpr const char* ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

struct FreeNames {
  void operator()(GENERAL_NAMES* names) const noexcept { GENERAL_NAMES_free(names); }
};
struct FreeBio {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};

std::string address_text(const ASN1_OCTET_STRING& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(&address) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(&address) != 16) return "?";
  ::inet_ntop(family, ASN1_STRING_get0_data(&address), text.data(), text.size());
  return text.data();
}

/// The hosts that a certificate is for.
std::string hosts_of(const X509& certificate) {
  const std::unique_ptr<GENERAL_NAMES, FreeNames> all(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> hosts;
  const int count = all == nullptr ? 0 : sk_GENERAL_NAME_num(all.get());
  for (int at = 0; at < count; ++at) {
    int type = 0;
    const auto* const value =
        static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all.get(), at), &type));
    if (type != GEN_DNS && type != GEN_IPADD) continue;
    if (hosts.size() == names_max) {
      hosts.emplace_back("…");
      break;
    }
    hosts.push_back(type == GEN_IPADD
                        ? address_text(*value)
                        : std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                                      static_cast<std::size_t>(ASN1_STRING_length(value))));
  }
  return hosts.empty() ? "no host (it has no subjectAltName)" : fmt::format("{}", fmt::join(hosts, ", "));
}

/// `CN=ca,O=Example`
std::string text_of(const X509_NAME* name) {
  const std::unique_ptr<BIO, FreeBio> bio(BIO_new(BIO_s_mem()));
  // Bytes of UTF-8 stay as they are.
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB));
  char* text = nullptr;
  const long size = BIO_ctrl(bio.get(), BIO_CTRL_INFO, 0, static_cast<void*>(&text));
  return {text, static_cast<std::size_t>(size)};
}

std::string now_text() {
  return "this machine's clock shows " + tls::utc_text(std::chrono::system_clock::now());
}

/// What is wrong with the certificate at which a verification has failed.
std::string describe(X509_STORE_CTX& verification, const std::string& host, const std::string& ca) {
  const int error = X509_STORE_CTX_get_error(&verification);
  const X509* const certificate = X509_STORE_CTX_get_current_cert(&verification);
  const std::string_view reason = X509_verify_cert_error_string(error);
  if (certificate == nullptr) return fmt::format("its certificate is not accepted: {}", reason);
  const std::string which = X509_STORE_CTX_get_error_depth(&verification) == 0
                                ? "its certificate"
                                : fmt::format("the certificate of \"{}\", with which it is signed,",
                                              text_of(X509_get_subject_name(certificate)));
  const std::string trusted =
      ca.empty() ? "not an authority of this system (--ca FILE names others)" : fmt::format("not in {}", ca);
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return fmt::format("{} expired on {}; {}", which,
                         tls::utc_text(tls::as_time(X509_get0_notAfter(certificate))), now_text());
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return fmt::format("{} is not valid before {}; {}: compare the clocks", which,
                         tls::utc_text(tls::as_time(X509_get0_notBefore(certificate))), now_text());
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return fmt::format("its certificate is for {}, not for {}", hosts_of(*certificate), host);
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return fmt::format("its certificate is signed by itself, and {}", trusted);
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return fmt::format("its certificate is signed by \"{}\", which is {}",
                         text_of(X509_get_issuer_name(certificate)), trusted);
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return fmt::format("{} is signed with another key than that of \"{}\" in {}", which,
                         text_of(X509_get_issuer_name(certificate)), ca.empty() ? "this system" : ca);
    default:
      return fmt::format("{} is not accepted: {}", which, reason);
  }
}

}  // namespace

void FreeSsl::operator()(ssl_st* ssl) const noexcept {
  SSL_free(ssl);
}

void TlsClient::FreeContext::operator()(ssl_ctx_st* context) const noexcept {
  SSL_CTX_free(context);
}

TlsClient::TlsClient(const TlsClientFiles& files)
    : files_(files), context_(SSL_CTX_new(TLS_client_method())) {
  SSL_CTX* const context = context_.get();
  CHECK(context != nullptr && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
            SSL_CTX_set_cipher_list(context, ciphers) == 1,
        "OpenSSL has TLS 1.2 and these ciphers");
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // A buffer whose sending continues later may have moved.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, &TlsClient::on_certificate);
  SSL_CTX_set_ex_data(context, 0, this);
}

TlsClient::~TlsClient() = default;

Result<std::shared_ptr<const TlsClient>> TlsClient::load(const TlsClientFiles& files) {
  std::shared_ptr<TlsClient> client(new TlsClient(files));
  if (files.ca.empty()) {
    if (SSL_CTX_set_default_verify_paths(client->context_.get()) != 1) {
      return fail(ErrorCode::io,
                  fmt::format("cannot read this system's authorities: {}", tls::take_reason()));
    }
  } else if (auto trusted = client->trust(files.ca); !trusted) {
    return tl::unexpected(trusted.error());
  }
  if (files.certificate.empty()) return client;
  if (auto used = client->use_certificate(); !used) return tl::unexpected(used.error());
  return client;
}

Result<void> TlsClient::trust(const std::string& file) {
  const auto authorities = tls::read_certificates(file);
  if (!authorities) return tl::unexpected(authorities.error());
  X509_STORE* const store = SSL_CTX_get_cert_store(context_.get());
  for (const tls::Certificate& each : *authorities) {
    CHECK(X509_STORE_add_cert(store, each.get()) == 1, "an authority can be added");
  }
  // An authority below the root, or the gateway's own certificate, is enough.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context_.get()), X509_V_FLAG_PARTIAL_CHAIN);
  return {};
}

Result<void> TlsClient::use_certificate() {
  const auto chain = tls::read_certificates(files_.certificate);
  if (!chain) return tl::unexpected(chain.error());
  const auto key = tls::read_private_key(files_.key);
  if (!key) return tl::unexpected(key.error());
  SSL_CTX* const context = context_.get();
  if (SSL_CTX_use_certificate(context, chain->front().get()) != 1) {
    return tls::expected(files_.certificate, "a certificate that gateways accept", tls::take_reason());
  }
  if (X509_check_private_key(chain->front().get(), key->get()) != 1) {
    return tls::expected(files_.key, "the key of " + files_.certificate, "another one");
  }
  if (SSL_CTX_use_PrivateKey(context, key->get()) != 1) {
    return tls::expected(files_.key, "a key that gateways accept", tls::take_reason());
  }
  for (const tls::Certificate& each : *chain) {
    if (each != chain->front() && SSL_CTX_add1_chain_cert(context, each.get()) != 1) {
      return tls::expected(files_.certificate, "a chain of certificates that gateways accept",
                           tls::take_reason());
    }
  }
  return {};
}

SslPointer TlsClient::connect(CertificateCheck& check) const {
  SslPointer ssl(SSL_new(context_.get()));
  CHECK(ssl != nullptr, "there is memory for a connection");
  // Neither the zone of an address nor the dot of an absolute name is in a certificate.
  std::string name = check.host.substr(0, check.host.find('%'));
  if (name.ends_with('.')) name.pop_back();
  X509_VERIFY_PARAM* const rules = SSL_get0_param(ssl.get());
  if (X509_VERIFY_PARAM_set1_ip_asc(rules, name.c_str()) != 1) {
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(
        rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    // The second is what the macro of OpenSSL does, without its C cast.
    CHECK(X509_VERIFY_PARAM_set1_host(rules, name.data(), name.size()) == 1 &&
              SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data()) == 1,
          "the host has a name");
  }
  SSL_set_ex_data(ssl.get(), 0, &check);
  SSL_set_connect_state(ssl.get());
  return ssl;
}

int TlsClient::on_certificate(int accepted, x509_store_ctx_st* verification) {
  if (accepted == 1) return 1;
  auto* const ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const auto* const client = static_cast<const TlsClient*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0));
  auto& check = *static_cast<CertificateCheck*>(SSL_get_ex_data(ssl, 0));
  if (check.problem.empty()) check.problem = describe(*verification, check.host, client->files_.ca);
  return 0;
}

}  // namespace backplane::cli
