#include "core/credentials/given_credentials.hpp"

#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

#include "core/credentials/key_file.hpp"
#include "core/credentials/protected_file.hpp"
#include "core/credentials/sodium.hpp"
#include "core/credentials/token_hash.hpp"

namespace backplane {
namespace {

/// A value and where it came from: an option or a variable. Neither: `where` is empty.
struct Given {
  std::string where;
  std::string value;
};

Result<Given> from_environment(const char* name, const Environment& environment) {
  const char* const value = environment(name);
  if (value == nullptr) return Given{};
  if (*value == '\0') {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: expected a value, got none", name));
  }
  return Given{name, value};
}

Result<Given> file_of(std::string_view option, const std::string& file, const char* variable,
                      const Environment& environment) {
  if (!file.empty()) return Given{std::string(option), file};
  return from_environment(variable, environment);
}

tl::unexpected<Error> at(const std::string& where, const Error& error) {
  return fail(error.code, fmt::format("{}: {}", where, error.text));
}

Result<std::optional<Token>> checked(std::string text, const std::string& where) {
  Token token(std::move(text));
  if (auto good = check_token(token.secret(), where); !good) return tl::unexpected(good.error());
  return token;
}

Result<std::optional<Token>> token_of_file(const Given& file) {
  auto text = read_protected_file(file.value, OthersMay::nothing, token_bytes_max + 2);
  if (!text) return at(file.where, text.error());
  // One line end is not part of it.
  if (text->ends_with('\n')) text->pop_back();
  if (text->ends_with('\r')) text->pop_back();
  return checked(std::move(*text), fmt::format("{} {}", file.where, file.value));
}

Result<std::optional<Token>> find_token(const char* option, const std::string& given,
                                        const Environment& environment) {
  const auto file = file_of(option, given, "BACKPLANE_TOKEN_FILE", environment);
  if (!file) return tl::unexpected(file.error());
  if (!given.empty()) return token_of_file(*file);
  auto variable = from_environment("BACKPLANE_TOKEN", environment);
  if (!variable) return tl::unexpected(variable.error());
  if (!file->where.empty() && !variable->where.empty()) {
    return fail(ErrorCode::invalid_argument,
                "BACKPLANE_TOKEN_FILE: expected no BACKPLANE_TOKEN beside it, got both");
  }
  if (!file->where.empty()) return token_of_file(*file);
  if (!variable->where.empty()) return checked(std::move(variable->value), variable->where);
  return std::nullopt;
}

}  // namespace

Token::~Token() {
  text_.resize(text_.capacity());  // a short text that was moved away is still there
  sodium_memzero(text_.data(), text_.size());
}

Environment process_environment() {
  return [](const char* name) -> const char* { return std::getenv(name); };
}

Result<GivenCredentials> read_credentials(const CredentialFiles& files, const Environment& environment,
                                          const CredentialOptions& options) {
  GivenCredentials given;
  auto token = find_token(options.token, files.token, environment);
  if (!token) return tl::unexpected(token.error());
  given.token = std::move(*token);
  const auto key = file_of(options.key, files.key, "BACKPLANE_KEY_FILE", environment);
  if (!key) return tl::unexpected(key.error());
  if (!key->where.empty()) {
    const auto secret = read_secret_key(key->value);
    if (!secret) return at(key->where, secret.error());
    given.key = *secret;
  }
  const auto server = file_of(options.server_key, files.server_key, "BACKPLANE_SERVER_KEY_FILE", environment);
  if (!server) return tl::unexpected(server.error());
  if (!server->where.empty()) {
    const auto public_key = read_public_key(server->value);
    if (!public_key) return at(server->where, public_key.error());
    given.server_key = *public_key;
  }
  return given;
}

}  // namespace backplane
