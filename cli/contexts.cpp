#include "cli/contexts.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/comma_list.hpp"
#include "cli/console/output.hpp"
#include "cli/console/output_file.hpp"
#include "core/log/escape.hpp"
#include "core/net/broker_address.hpp"
#include "core/net/host_port.hpp"

namespace backplane::cli {
namespace {

constexpr std::size_t name_bytes_max = 64;

Result<void> check_brokers(std::string_view list, std::string_view where) {
  for (const std::string& part : split_at_commas(list)) {
    if (auto address = parse_broker_address(part, where); !address) return tl::unexpected(address.error());
  }
  return {};
}

Result<void> check_gateway(std::string_view value, std::string_view where) {
  return parse_host_port(value, where).map([](const HostPort&) {});
}

void describe(config::Section& section, Context& context) {
  for (const ContextField& field : context_fields()) {
    const std::string key = field.key();
    section.field(key, context.*field.value, field.about,
                  [&field](std::string_view value, std::string_view where) -> Result<void> {
                    if (value.empty()) return {};
                    return check_context_value(field, value, where);
                  });
  }
  section.field("tls", context.tls, "Whether to use TLS with the authorities of this system.");
}

void describe(config::Section& root, Contexts& contexts) {
  root.field("current", contexts.current, "The context that commands use; \"\": none.");
  root.named_tables(
      "context", contexts.all, "Addresses and the names of files with credentials.", check_context_name,
      [](config::Section& section, const std::string&, Context& context) { describe(section, context); });
}

}  // namespace

std::string ContextField::key() const {
  std::string key(option);
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

const std::vector<ContextField>& context_fields() {
  static const std::vector<ContextField> fields{
      {"broker", "HOST[:PORT],...", "The brokers", &Context::broker, false},
      {"gateway", "HOST:PORT", "The gateway", &Context::gateway, false},
      {"key", "NAME.key", "File with this client's secret key, for brokers", &Context::key, true},
      {"server-key", "NAME.pub", "File with the broker's public key", &Context::server_key, true},
      {"token-file", "FILE", "File with this client's token, for the gateway", &Context::token_file, true},
      {"ca", "FILE", "Authorities whose gateways to trust, in PEM", &Context::ca, true},
      {"tls-certificate", "FILE", "This client's certificate for the gateway, in PEM",
       &Context::tls_certificate, true},
      {"tls-key", "FILE", "Private key of the certificate, in PEM", &Context::tls_key, true},
  };
  return fields;
}

Result<void> check_context_value(const ContextField& field, std::string_view value, std::string_view where) {
  if (field.value == &Context::broker) return check_brokers(value, where);
  if (field.value == &Context::gateway) return check_gateway(value, where);
  return {};
}

Result<void> check_context_name(std::string_view name, std::string_view where) {
  const bool good =
      !name.empty() && name.size() <= name_bytes_max && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
               c == '_';
      });
  if (good) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected a name of 1 to {} letters, digits, - and _, got \"{}\"", where,
                          name_bytes_max, log::escape(name)));
}

Result<Contexts> Contexts::load(const std::filesystem::path& file) {
  Contexts contexts;
  auto source = config::Source::load(file);
  if (!source && source.error().code == ErrorCode::not_found) return contexts;
  if (!source) return fail(ErrorCode::invalid_argument, source.error().text);
  const std::vector<std::string> errors =
      config::read(*source, [&](config::Section& root) { describe(root, contexts); });
  if (!errors.empty()) return fail(ErrorCode::invalid_argument, errors.front());
  return contexts;
}

Result<void> Contexts::save(const std::filesystem::path& file) const {
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  if (error) {
    return fail(ErrorCode::io,
                fmt::format("cannot create {}: {}", file.parent_path().string(), error.message()));
  }
  auto opened = OutputFile::open(file.string());
  if (!opened) return fail(ErrorCode::io, opened.error().text);
  Output output(opened->fd(), opened->name());
  Contexts copy = *this;
  output.buffer() =
      "# Written by `backplane context`, which does not keep comments. Secrets are not here, but in the "
      "files\n"
      "# that these are the names of.\n" +
      config::print([&](config::Section& root) { describe(root, copy); });
  output.flush();
  if (!output.problem().empty()) return fail(ErrorCode::io, output.problem());
  return opened->commit();
}

Result<Context> Contexts::find(std::string_view name, std::string_view where,
                               const std::filesystem::path& file) const {
  if (const auto found = all.find(name); found != all.end()) return found->second;
  std::vector<std::string_view> names;
  for (const auto& [each, context] : all) names.push_back(each);
  const std::string place = file.empty() ? "a file in ~/.config" : file.string();
  const std::string expected =
      names.empty() ? fmt::format("a context, of which {} has none", place)
                    : fmt::format("one of the contexts in {} ({})", place, fmt::join(names, ", "));
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected {}, got \"{}\"", where, expected, log::escape(name)));
}

std::filesystem::path contexts_file(const Environment& environment) {
  const auto folder = [&](const char* variable) {
    const char* const value = environment(variable);
    std::filesystem::path path = value == nullptr ? "" : value;
    // The XDG specification: a relative path is invalid and ignored.
    return path.is_absolute() ? path : std::filesystem::path();
  };
  if (const auto config = folder("XDG_CONFIG_HOME"); !config.empty())
    return config / "backplane" / "config.toml";
  if (const auto home = folder("HOME"); !home.empty()) return home / ".config" / "backplane" / "config.toml";
  return {};
}

}  // namespace backplane::cli
