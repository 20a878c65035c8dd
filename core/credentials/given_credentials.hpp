#pragma once
// The credentials that a user gives to a program: in files, which options or the environment name, or in the
// environment. Never in arguments, which every user of the machine can read.

#include <functional>
#include <optional>
#include <string>

#include "core/credentials/key.hpp"
#include "core/error/error.hpp"

namespace backplane {

/// A token. Its memory is overwritten when it is destroyed; it cannot be formatted or logged by accident.
class Token {
 public:
  explicit Token(std::string text) : text_(std::move(text)) {}
  ~Token();
  Token(Token&&) noexcept = default;
  Token& operator=(Token&&) noexcept = default;
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;

  /// For the bytes that go to the peer, and nothing else.
  [[nodiscard]] const std::string& secret() const noexcept { return text_; }

 private:
  std::string text_;
};

/// The files that options name; empty: the option is not given.
struct CredentialFiles {
  std::string token{};       ///< --token-file
  std::string key{};         ///< --key
  std::string server_key{};  ///< --server-key
};

/// What errors call the options.
struct CredentialOptions {
  const char* token = "--token-file";
  const char* key = "--key";
  const char* server_key = "--server-key";
};

struct GivenCredentials {
  std::optional<Token> token{};
  std::optional<SecretKey> key{};         ///< the client's
  std::optional<PublicKey> server_key{};  ///< the server's, which the client expects
};

/// Looks up a variable of the environment; nullptr: it is not set.
using Environment = std::function<const char*(const char* name)>;

/// That of this process.
[[nodiscard]] Environment process_environment();

/// Reads what is given. An option comes before the environment: BACKPLANE_TOKEN_FILE, BACKPLANE_TOKEN,
/// BACKPLANE_KEY_FILE and BACKPLANE_SERVER_KEY_FILE. A variable that is set to an empty text is an error, as
/// an option without a value is. So are both variables of the token at once, and a secret in a file that
/// other users can read. @returns an error that begins with the option or variable and never contains a
/// secret: `BACKPLANE_TOKEN_FILE: cannot read /run/token: no such file`.
Result<GivenCredentials> read_credentials(const CredentialFiles& files, const Environment& environment,
                                          const CredentialOptions& options = {});

}  // namespace backplane
