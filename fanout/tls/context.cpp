#include "fanout/tls/context.hpp"

#include <algorithm>
#include <array>
#include <memory>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "core/log/escape.hpp"
#include "core/tls/pem_files.hpp"

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;
using tls::as_time;
using tls::Certificate;
using tls::expected;
using tls::read_certificates;
using tls::read_private_key;
using tls::take_reason;
using tls::utc_text;

constexpr auto expires_soon = 14 * 24h;
constexpr std::chrono::seconds ticket_lifetime = 1h;
constexpr std::size_t common_name_bytes_max = 256;
// For TLS 1.2. Those of 1.3 have forward secrecy and authenticate what they encrypt in any case.
constexpr const char* ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr std::array<unsigned char, 9> protocol = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

struct FreeNameText {
  void operator()(unsigned char* text) const noexcept { OPENSSL_free(text); }
};
using NameText = std::unique_ptr<unsigned char, FreeNameText>;

/// Clients that offer protocols must offer HTTP/1.1. Those of the line protocol offer none.
int on_protocols(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                 unsigned int offered_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, size, protocol.data(), protocol.size(), offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

void set_rules(SSL_CTX* context) {
  CHECK(SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1, "OpenSSL has TLS 1.2");
  CHECK(SSL_CTX_set_cipher_list(context, ciphers) == 1, "OpenSSL has these ciphers");
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // An idle connection keeps no buffers. A read returns after each record that is not data: a client cannot
  // keep a worker busy with them.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_max_early_data(context, 0);
  // Sessions are in the clients' tickets, not in memory. The tickets' keys are the context's.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(context, ticket_lifetime.count());
  SSL_CTX_set_num_tickets(context, 1);
  constexpr std::string_view id = "backplane gateway";
  SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(id.data()),
                                 static_cast<unsigned int>(id.size()));
  SSL_CTX_set_alpn_select_cb(context, &on_protocols, nullptr);
}

bool is_valid_for(X509* certificate, std::string_view host) {
  const std::string text(host);
  return X509_check_host(certificate, text.data(), text.size(), 0, nullptr) == 1 ||
         X509_check_ip_asc(certificate, text.c_str(), 0) == 1;
}

}  // namespace

void FreeSsl::operator()(ssl_st* ssl) const noexcept {
  SSL_free(ssl);
}

void TlsContext::FreeContext::operator()(ssl_ctx_st* context) const noexcept {
  SSL_CTX_free(context);
}

TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::load(const TlsFiles& files) {
  if (files.certificates.empty() || files.certificates.size() != files.keys.size()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("expected a key for each certificate, got {} keys for {} certificates",
                            files.keys.size(), files.certificates.size()));
  }
  const std::shared_ptr<TlsContext> context(new TlsContext);
  for (std::size_t i = 0; i < files.certificates.size(); ++i) {
    if (auto added = context->add(files.certificates[i], files.keys[i]); !added) {
      return tl::unexpected(added.error());
    }
  }
  if (!files.client_ca.empty()) {
    if (auto added = context->add_client_ca(files.client_ca); !added) return tl::unexpected(added.error());
  }
  // The first context is the one of every new connection. It passes it on to the one of the host.
  SSL_CTX* const first = context->entries_.front().context.get();
  // What the macro of OpenSSL does, without its C cast.
  SSL_CTX_callback_ctrl(first, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB,
                        reinterpret_cast<void (*)()>(&TlsContext::on_server_name));
  SSL_CTX_set_tlsext_servername_arg(first, &context->entries_);
  return context;
}

Result<void> TlsContext::add(const std::string& certificate, const std::string& key) {
  auto chain = read_certificates(certificate);
  if (!chain) return tl::unexpected(chain.error());
  const auto secret = read_private_key(key);
  if (!secret) return tl::unexpected(secret.error());
  Entry entry{std::unique_ptr<SSL_CTX, FreeContext>(SSL_CTX_new(TLS_server_method())), nullptr};
  CHECK(entry.context, "a TLS context can be created");
  SSL_CTX* const context = entry.context.get();
  set_rules(context);
  if (SSL_CTX_use_certificate(context, chain->front().get()) != 1) {
    return expected(certificate, "a certificate that clients accept", take_reason());
  }
  entry.certificate = SSL_CTX_get0_certificate(context);
  if (X509_check_private_key(entry.certificate, secret->get()) != 1) {
    return expected(key, fmt::format("the key of {}", log::escape(certificate)), "another one");
  }
  if (SSL_CTX_use_PrivateKey(context, secret->get()) != 1) {
    return expected(key, "a key that clients accept", take_reason());
  }
  for (const Certificate& each : *chain) {
    if (each != chain->front() && SSL_CTX_add1_chain_cert(context, each.get()) != 1) {
      return expected(certificate, "a chain of certificates that clients accept", take_reason());
    }
    expires_ = std::min(expires_, note_validity(certificate, each.get()).until);
  }
  entries_.push_back(std::move(entry));
  return {};
}

Result<void> TlsContext::add_client_ca(const std::string& file) {
  const auto authorities = read_certificates(file);
  if (!authorities) return tl::unexpected(authorities.error());
  for (const Certificate& each : *authorities) {
    if (X509_check_ca(each.get()) == 0) {
      return expected(file, "certificates of authorities (CA)", "the certificate of something else");
    }
    note_validity(file, each.get());
    for (const Entry& entry : entries_) {
      SSL_CTX* const context = entry.context.get();
      CHECK(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), each.get()) == 1 &&
                SSL_CTX_add_client_CA(context, each.get()) == 1,
            "an authority can be added");
    }
  }
  for (const Entry& entry : entries_) {
    SSL_CTX_set_verify(entry.context.get(), SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, nullptr);
    SSL_CTX_set_verify_depth(entry.context.get(), 8);
  }
  return {};
}

TlsContext::Validity& TlsContext::note_validity(const std::string& file, x509_st* certificate) {
  return validities_.emplace_back(
      Validity{file, as_time(X509_get0_notBefore(certificate)), as_time(X509_get0_notAfter(certificate))});
}

int TlsContext::on_server_name(ssl_st* ssl, int*, void* entries) {
  const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  const auto& all = *static_cast<const std::vector<Entry>*>(entries);
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Entry& each) { return is_valid_for(each.certificate, name); });
  if (found == all.end()) return SSL_TLSEXT_ERR_NOACK;
  SSL_set_SSL_CTX(ssl, found->context.get());
  return SSL_TLSEXT_ERR_OK;
}

SslPointer TlsContext::accept() const noexcept {
  SslPointer ssl(SSL_new(entries_.front().context.get()));
  if (ssl) SSL_set_accept_state(ssl.get());
  return ssl;
}

bool TlsContext::has_name(std::string_view host) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& each) { return is_valid_for(each.certificate, host); });
}

std::vector<std::string> TlsContext::warnings(SystemClock::time_point now) const {
  std::vector<std::string> lines;
  for (const Validity& each : validities_) {
    const std::string file = log::escape(each.file);
    if (now < each.from) {
      lines.push_back(fmt::format("{}: the certificate is not valid before {}", file, utc_text(each.from)));
    } else if (now >= each.until) {
      lines.push_back(fmt::format("{}: the certificate expired on {}", file, utc_text(each.until)));
    } else if (each.until - now < expires_soon) {
      lines.push_back(fmt::format("{}: the certificate expires on {}", file, utc_text(each.until)));
    }
  }
  return lines;
}

std::string peer_common_name(const ssl_st& ssl) {
  const X509* const certificate = SSL_get0_peer_certificate(&ssl);
  if (certificate == nullptr || SSL_get_verify_result(&ssl) != X509_V_OK) return {};
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return {};
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  const NameText owner(text);
  std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  const bool printable = std::all_of(
      name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
  return printable && name.size() <= common_name_bytes_max ? name : std::string();
}

}  // namespace backplane::fanout
