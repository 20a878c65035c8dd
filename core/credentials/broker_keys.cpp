#include "core/credentials/broker_keys.hpp"

#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

#include "core/process/host.hpp"

namespace backplane {
namespace {

constexpr const char* key_variable = "BACKPLANE_KEY_FILE";
constexpr const char* server_key_variable = "BACKPLANE_SERVER_KEY_FILE";

/// A key is given, and its counterpart is not.
tl::unexpected<Error> half(const std::string& file, const char* option, const char* variable,
                           std::string_view missing, const char* missing_option,
                           const char* missing_variable) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected {} with it ({} or {}), got none", file.empty() ? variable : option,
                          missing, missing_option, missing_variable));
}

}  // namespace

Result<mq::SharedKeys> read_broker_keys(const CredentialFiles& files, const Environment& environment,
                                        const CredentialOptions& options) {
  const auto variables_of_keys = [&](const char* name) -> const char* {
    const std::string_view wanted = name;
    return wanted == key_variable || wanted == server_key_variable ? environment(name) : nullptr;
  };
  const auto given =
      read_credentials({.key = files.key, .server_key = files.server_key}, variables_of_keys, options);
  if (!given) return tl::unexpected(given.error());
  if (!given->key && !given->server_key) return mq::SharedKeys();
  if (!given->server_key) {
    return half(files.key, options.key, key_variable, "a server key", options.server_key,
                server_key_variable);
  }
  if (!given->key)
    return half(files.server_key, options.server_key, server_key_variable, "a key", options.key,
                key_variable);
  auto keys = std::make_shared<mq::ClientKeys>();
  keys->curve = {given->key->bytes(), given->key->public_key().bytes, given->server_key->bytes};
  keys->files.key_file = files.key.empty() ? environment(key_variable) : files.key;
  keys->files.server_key_file =
      files.server_key.empty() ? environment(server_key_variable) : files.server_key;
  return mq::SharedKeys(std::move(keys));
}

mq::SharedKeys keys_of(const Credentials& files) {
  const auto keys =
      read_broker_keys({.key = files.key_file, .server_key = files.server_key_file}, process_environment(),
                       {.key = "key_file", .server_key = "server_key_file"});
  if (!keys) throw std::invalid_argument(keys.error().text);
  return *keys;
}

std::string key_suffix(const mq::SharedKeys& keys) {
  if (keys == nullptr) return {};
  const auto& key = keys->curve.public_key;
  return fmt::format("-{:02x}{:02x}{:02x}{:02x}", key[0], key[1], key[2], key[3]);
}

std::string default_name(std::string_view what, const mq::SharedKeys& keys) {
  return fmt::format("{}@{}{}", what, host_name(), key_suffix(keys));
}

}  // namespace backplane
