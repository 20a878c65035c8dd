#pragma once
// Policies for tests, with hashes that cost nothing.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "core/policy/policy.hpp"

namespace backplane::gateway {

/// Has the form of a hash.
inline std::string hash_of(std::string_view secret) {
  std::string hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$" + std::string(secret);
  hash.append(43 - secret.size(), 'A');
  return hash;
}

inline bool is_secret_of(std::string_view secret, std::string_view hash) {
  return secret.size() <= 43 && hash == hash_of(secret);
}

inline std::shared_ptr<const policy::Policy> policy_of(const std::string& toml) {
  auto parsed = policy::Policy::parse(toml, "policy.toml");
  if (parsed) return std::make_shared<const policy::Policy>(*std::move(parsed));
  ADD_FAILURE() << parsed.error().front();
  return nullptr;
}

inline std::string user_text(std::string_view name, std::string_view secret, std::string_view roles) {
  return "[users." + std::string(name) + "]\ntoken = \"" + hash_of(secret) + "\"\nroles = [" +
         std::string(roles) + "]\n";
}

}  // namespace backplane::gateway
