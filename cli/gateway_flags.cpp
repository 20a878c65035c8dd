#include "cli/gateway_flags.hpp"

#include <utility>

#include "cli/configuration.hpp"

namespace backplane::cli {
namespace {

void set_tls(config::Source& source, const GatewayFlags& flags) {
  const auto set_files = [&](std::string path, std::string flag, const std::vector<std::string>& files) {
    if (!files.empty()) source.set_flag(std::move(path), std::move(flag), files);
  };
  set_files("gateway.tls_certificate", "--tls-certificate", flags.tls_certificate);
  set_files("gateway.tls_key", "--tls-key", flags.tls_key);
  set_flag(source, "gateway.tls_client_ca", "--tls-client-ca", flags.tls_client_ca);
  if (flags.tls_required) source.set_flag("gateway.tls_required", "--tls-required", {"true"});
  if (flags.no_tls_required) source.set_flag("gateway.tls_required", "--no-tls-required", {"false"});
}

}  // namespace

void add_gateway_flags(const Command& command, GatewayFlags& flags) {
  command.add_option("--listen", flags.listen, "Address for clients (default: localhost:1601); repeatable")
      .value_name("HOST:PORT");
  command
      .add_option("--workers", flags.workers,
                  "Threads that write to clients (default: the number of cores minus one)")
      .value_name("N");
  command
      .add_option(
          "--tls-certificate", flags.tls_certificate,
          "Certificate with its chain, in PEM (default: without TLS); repeatable, for other host names")
      .value_name("FILE");
  command.add_option("--tls-key", flags.tls_key, "Private key of the certificate, in PEM; repeatable")
      .value_name("FILE");
  command
      .add_option("--tls-client-ca", flags.tls_client_ca,
                  "Authorities that sign certificates of clients, in PEM (default: none)")
      .value_name("FILE");
  command.add_flag("--tls-required", flags.tls_required,
                   "Refuse clients without TLS (default if there is a certificate)");
  command.add_flag("--no-tls-required", flags.no_tls_required, "Serve clients without TLS, too");
}

Result<void> set_gateway_flags(config::Source& source, const GatewayFlags& flags) {
  if (flags.tls_required && flags.no_tls_required) {
    return fail(ErrorCode::invalid_argument, "expected --tls-required or --no-tls-required, got both");
  }
  if (!flags.listen.empty()) source.set_flag("gateway.listen", "--listen", flags.listen);
  set_flag(source, "gateway.workers", "--workers", flags.workers);
  set_tls(source, flags);
  return {};
}

}  // namespace backplane::cli
