#pragma once
// Files with one key in Z85: NAME.key has the secret key, NAME.pub the public one.

#include <filesystem>

#include "core/credentials/key.hpp"
#include "core/error/error.hpp"

namespace backplane {

/// The files of a key pair.
struct KeyFiles {
  std::filesystem::path secret;      ///< NAME.key, mode 0600
  std::filesystem::path public_key;  ///< NAME.pub, mode 0644
};

/// The files of the key pair NAME, which may contain a folder.
[[nodiscard]] KeyFiles key_files(const std::filesystem::path& name);

/// Creates both files of a key pair. Existing files are never changed. @returns an error if one of them
/// exists or cannot be written; then neither has been created.
Result<void> write_key_files(const KeyFiles& files, const SecretKey& key);

/// Reads a secret key. A file that other users can read or write is refused. Errors begin with the file's
/// name and never contain the key.
Result<SecretKey> read_secret_key(const std::filesystem::path& file);

/// Reads a public key. A file that other users can write is refused.
Result<PublicKey> read_public_key(const std::filesystem::path& file);

}  // namespace backplane
