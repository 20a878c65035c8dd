#include "cli/gateway_client_flags.hpp"

#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/net/loopback.hpp"

namespace backplane::cli {
namespace {

constexpr const char* ca_variable = "BACKPLANE_CA_FILE";
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

/// The rules of TLS; nullptr: without TLS.
Result<std::shared_ptr<const TlsClient>> read_tls(const GatewayClientFlags& flags,
                                                  const Environment& environment) {
  if (flags.certificate.empty() != flags.key.empty()) {
    return flags.key.empty() ? wrong("--tls-certificate: expected --tls-key with it, got none")
                             : wrong("--tls-key: expected --tls-certificate with it, got none");
  }
  TlsClientFiles files{flags.ca, flags.certificate, flags.key};
  if (const char* const variable = environment(ca_variable); files.ca.empty() && variable != nullptr) {
    files.ca = variable;
    if (files.ca.empty()) return wrong(fmt::format("{}: expected a value, got none", ca_variable));
  }
  if (!flags.tls && files.ca.empty() && files.certificate.empty()) return nullptr;
  return TlsClient::load(files);
}

Result<std::optional<Token>> read_token(const GatewayClientFlags& flags, const Environment& environment) {
  const auto variables_of_tokens = [&](const char* name) -> const char* {
    const std::string_view wanted = name;
    return wanted == token_file_variable || wanted == token_variable ? environment(name) : nullptr;
  };
  auto given = read_credentials({.token = flags.token_file}, variables_of_tokens);
  if (!given) return tl::unexpected(given.error());
  return std::move(given->token);
}

/// Where the token is from, for errors.
std::string_view source_of_token(const GatewayClientFlags& flags, const Environment& environment) {
  if (!flags.token_file.empty()) return "--token-file";
  return environment(token_file_variable) != nullptr ? token_file_variable : token_variable;
}

}  // namespace

void add_gateway_client_flags(const Command& command, GatewayClientFlags& flags, const std::string& about) {
  const std::string group = "Through a gateway";
  const auto add_file = [&](const std::string& name, std::string& value, const std::string& text) {
    command.add_option(name, value, text).value_name("FILE").group(group);
  };
  command.add_option("--gateway", flags.gateway, about).value_name("HOST:PORT").group(group);
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
  add_file("--tls-certificate", flags.certificate, "This client's certificate, in PEM");
  add_file("--tls-key", flags.key, "Private key of the certificate, in PEM");
}

Result<std::optional<GatewayEndpoint>> resolve_gateway(const GatewayClientFlags& flags,
                                                       const AddressFlags& addresses,
                                                       const Environment& environment) {
  if (flags.gateway.empty()) {
    if (const std::string_view option = useless_without_gateway(flags); !option.empty()) {
      return wrong(fmt::format("{}: expected --gateway with it, got none", option));
    }
    return std::nullopt;
  }
  if (addresses.given()) return wrong("--gateway: cannot be combined with the addresses or keys of a broker");
  const auto place = parse_host_port(flags.gateway, "--gateway");
  if (!place) return tl::unexpected(place.error());
  auto tls = read_tls(flags, environment);
  if (!tls) return tl::unexpected(tls.error());
  auto token = read_token(flags, environment);
  if (!token) return tl::unexpected(token.error());
  if (*token) {
    const std::string_view source = source_of_token(flags, environment);
    const std::size_t colon = (*token)->secret().find(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == (*token)->secret().size()) {
      return wrong(fmt::format(
          "{}: expected the name of the user, a colon and the secret, got something else", source));
    }
    if (*tls == nullptr && !is_loopback_host(place->host)) {
      return wrong(
          fmt::format("{}: expected TLS with it (--ca FILE, or --tls for the authorities of this system), "
                      "because a token "
                      "that is sent to {} without TLS can be read on the way",
                      source, flags.gateway));
    }
  }
  GatewayEndpoint endpoint{flags.gateway, *place, std::move(*tls), std::move(*token)};
  return std::optional(std::move(endpoint));
}

}  // namespace backplane::cli
