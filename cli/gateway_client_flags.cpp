#include "cli/gateway_client_flags.hpp"

#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/net/loopback.hpp"

namespace backplane::cli {
namespace {

constexpr const char* gateway_variable = "BACKPLANE_GATEWAY";
constexpr const char* ca_variable = "BACKPLANE_CA_FILE";
constexpr const char* certificate_variable = "BACKPLANE_TLS_CERTIFICATE_FILE";
constexpr const char* tls_key_variable = "BACKPLANE_TLS_KEY_FILE";
constexpr const char* token_file_variable = "BACKPLANE_TOKEN_FILE";
constexpr const char* token_variable = "BACKPLANE_TOKEN";

tl::unexpected<Error> wrong(std::string text) {
  return fail(ErrorCode::invalid_argument, std::move(text));
}

/// The first option that has no effect without --gateway; empty: none.
std::string_view useless_without_gateway(const GatewayClientFlags& flags) {
  const std::array<std::pair<bool, std::string_view>, 5> given{
      {{flags.tls, "--tls"},
       {!flags.ca.empty(), "--ca"},
       {!flags.token_file.empty(), "--token-file"},
       {!flags.certificate.empty(), "--tls-certificate"},
       {!flags.key.empty(), "--tls-key"}}};
  for (const auto& [is_given, option] : given) {
    if (is_given) return option;
  }
  return {};
}

/// The name of a file, and who gave it: `--ca`, `BACKPLANE_CA_FILE`, `context prod: ca`.
struct GivenFile {
  std::string where{};
  std::string name{};
};

/// The option's file, else the context's, else the variable's.
Result<GivenFile> find_file(std::string_view option, const std::string& given, const NamedAddress& gateway,
                            std::string Context::*field, const char* variable,
                            const Environment& environment) {
  if (!given.empty()) return GivenFile{std::string(option), given};
  if (const std::string& name = gateway.settings.*field; !name.empty()) {
    for (const ContextField& each : context_fields()) {
      if (each.value == field)
        return GivenFile{fmt::format("context {}: {}", gateway.context, each.key()), name};
    }
  }
  const char* const value = environment(variable);
  if (value == nullptr) return GivenFile{};
  if (*value == '\0') return wrong(fmt::format("{}: expected a value, got none", variable));
  return GivenFile{variable, value};
}

/// The rules of TLS; nullptr: without TLS.
Result<std::shared_ptr<const TlsClient>> read_tls(const GatewayClientFlags& flags,
                                                  const NamedAddress& gateway,
                                                  const Environment& environment) {
  const auto ca = find_file("--ca", flags.ca, gateway, &Context::ca, ca_variable, environment);
  if (!ca) return tl::unexpected(ca.error());
  const auto certificate = find_file("--tls-certificate", flags.certificate, gateway,
                                     &Context::tls_certificate, certificate_variable, environment);
  if (!certificate) return tl::unexpected(certificate.error());
  const auto key =
      find_file("--tls-key", flags.key, gateway, &Context::tls_key, tls_key_variable, environment);
  if (!key) return tl::unexpected(key.error());
  if (!certificate->name.empty() && key->name.empty()) {
    return wrong(fmt::format("{}: expected a private key with it (--tls-key or {}), got none",
                             certificate->where, tls_key_variable));
  }
  if (certificate->name.empty() && !key->name.empty()) {
    return wrong(fmt::format("{}: expected a certificate with it (--tls-certificate or {}), got none",
                             key->where, certificate_variable));
  }
  if (!flags.tls && !gateway.settings.tls && ca->name.empty() && certificate->name.empty()) return nullptr;
  return TlsClient::load({ca->name, certificate->name, key->name});
}

/// The token, and where it is from, for errors.
struct GivenToken {
  std::string where{};
  std::optional<Token> token{};
};

Result<GivenToken> read_token(const GatewayClientFlags& flags, const NamedAddress& gateway,
                              const Environment& environment) {
  const auto variables_of_tokens = [&](const char* name) -> const char* {
    const std::string_view wanted = name;
    return wanted == token_file_variable || wanted == token_variable ? environment(name) : nullptr;
  };
  GivenToken given{"--token-file"};
  std::string file = flags.token_file;
  if (file.empty() && !gateway.settings.token_file.empty()) {
    file = gateway.settings.token_file;
    given.where = fmt::format("context {}: token_file", gateway.context);
  } else if (file.empty()) {
    given.where = environment(token_file_variable) != nullptr ? token_file_variable : token_variable;
  }
  auto credentials = read_credentials({.token = file}, variables_of_tokens, {.token = given.where.c_str()});
  if (!credentials) return tl::unexpected(credentials.error());
  given.token = std::move(credentials->token);
  return given;
}

/// The gateway to connect to; nobody: a broker is used.
Result<NamedAddress> find_gateway(const GatewayClientFlags& flags, const AddressFlags& addresses,
                                  const Environment& environment) {
  const std::string_view option = useless_without_gateway(flags);
  if (!flags.gateway.empty() && addresses.given())
    return wrong("--gateway: cannot be combined with the addresses or keys of a broker");
  const auto none = [&]() -> Result<NamedAddress> {
    if (option.empty()) return NamedAddress();
    return wrong(fmt::format("{}: expected --gateway with it, got none", option));
  };
  if (addresses.given()) return none();
  auto gateway = find_gateway_address(flags, addresses, environment);
  if (!gateway) return gateway;
  if (gateway->by == NamedAddress::By::nobody) return none();
  if (gateway->by == NamedAddress::By::option || !option.empty()) return gateway;
  auto broker = find_broker(addresses, environment);
  if (!broker || broker->by <= gateway->by) return broker ? none() : broker;
  return gateway;
}

}  // namespace

void add_gateway_client_flags(const Command& command, GatewayClientFlags& flags, const std::string& about) {
  const std::string group = "Through a gateway";
  const auto add_file = [&](const std::string& name, std::string& value, const std::string& text) {
    command.add_option(name, value, text).value_name("FILE").group(group);
  };
  command.add_option("-g,--gateway", flags.gateway, about + " (default: $BACKPLANE_GATEWAY)")
      .value_name("HOST:PORT")
      .group(group);
  command
      .add_flag(
          "--tls", flags.tls,
          "Use TLS; without --ca, trust the authorities of this system (--ca and --tls-certificate imply it)")
      .group(group);
  add_file("--ca", flags.ca,
           "Authorities whose gateways to trust, or the gateway's own certificate, in PEM (default: "
           "$BACKPLANE_CA_FILE)");
  add_file("--token-file", flags.token_file,
           "File with this client's token, NAME:SECRET (default: $BACKPLANE_TOKEN_FILE, or the token in "
           "$BACKPLANE_TOKEN)");
  add_file("--tls-certificate", flags.certificate,
           "This client's certificate, in PEM (default: $BACKPLANE_TLS_CERTIFICATE_FILE)");
  add_file("--tls-key", flags.key,
           "Private key of the certificate, in PEM (default: $BACKPLANE_TLS_KEY_FILE)");
}

Result<NamedAddress> find_gateway_address(const GatewayClientFlags& flags, const AddressFlags& addresses,
                                          const Environment& environment) {
  return find_address(&Context::gateway, "--gateway", gateway_variable, flags.gateway, !flags.gateway.empty(),
                      addresses, environment);
}

Result<GatewayEndpoint> gateway_endpoint(const NamedAddress& gateway, const GatewayClientFlags& flags,
                                         const Environment& environment) {
  const auto place = parse_host_port(gateway.value, gateway.where);
  if (!place) return tl::unexpected(place.error());
  auto tls = read_tls(flags, gateway, environment);
  if (!tls) return tl::unexpected(tls.error());
  auto given = read_token(flags, gateway, environment);
  if (!given) return tl::unexpected(given.error());
  if (const std::optional<Token>& token = given->token) {
    const std::size_t colon = token->secret().find(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == token->secret().size()) {
      return wrong(fmt::format(
          "{}: expected the name of the user, a colon and the secret, got something else", given->where));
    }
    if (*tls == nullptr && !is_loopback_host(place->host)) {
      return wrong(
          fmt::format("{}: expected TLS with it (--ca FILE, or --tls for the authorities of this system), "
                      "because a token "
                      "that is sent to {} without TLS can be read on the way",
                      given->where, gateway.value));
    }
  }
  return GatewayEndpoint{gateway.value, *place, std::move(*tls), std::move(given->token)};
}

Result<std::optional<GatewayEndpoint>> resolve_gateway(const GatewayClientFlags& flags,
                                                       const AddressFlags& addresses,
                                                       const Environment& environment) {
  const auto gateway = find_gateway(flags, addresses, environment);
  if (!gateway) return tl::unexpected(gateway.error());
  if (gateway->by == NamedAddress::By::nobody) return std::nullopt;
  auto endpoint = gateway_endpoint(*gateway, flags, environment);
  if (!endpoint) return tl::unexpected(endpoint.error());
  return std::optional(std::move(*endpoint));
}

}  // namespace backplane::cli
