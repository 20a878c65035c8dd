#pragma once
// Tokens, and the hashes of tokens that a policy contains: argon2id by libsodium's crypto_pwhash_str.

#include <cstddef>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane {

inline constexpr std::size_t token_bytes_max = 512;

/// Checks whether `token` can be sent in every protocol: 1..512 printable ASCII characters without spaces.
/// The error begins with `where` and never contains the token.
Result<void> check_token(std::string_view token, std::string_view where);

/// A hash of the token with a salt of its own, such as `$argon2id$v=19$m=65536,t=2,p=1$…`. Takes about 0.1 s
/// and 64 MiB. @returns an error (exhausted) if there is not enough memory.
Result<std::string> hash_token(std::string_view token);

/// Checks whether `hash` is one that hash_token() returns, or another one of argon2id that takes at most
/// 256 MiB and 16 passes. `where` begins the error.
Result<void> check_token_hash(std::string_view hash, std::string_view where);

/// Whether `hash`, which check_token_hash() accepts, is that of `token`. The time taken depends on the hash's
/// parameters, not on how much of the token is right. Takes about 0.1 s and 64 MiB; false if there is not
/// enough memory.
[[nodiscard]] bool is_token_of_hash(std::string_view token, std::string_view hash);

}  // namespace backplane
