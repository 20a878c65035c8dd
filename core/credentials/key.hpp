#pragma once
// The keys of CURVE (ZeroMQ's encryption), and their text form, Z85 (https://rfc.zeromq.org/spec/32).

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane {

inline constexpr std::size_t key_bytes = 32;
/// The length of a key in Z85.
inline constexpr std::size_t key_text_bytes = 40;

/// The half of a key pair that everybody may know.
struct PublicKey {
  std::array<std::uint8_t, key_bytes> bytes{};
  friend bool operator==(const PublicKey&, const PublicKey&) = default;
  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;
};

/// The half that only its owner knows. Its memory is overwritten when it is destroyed. It has no == on
/// purpose: comparing secrets takes constant time.
class SecretKey {
 public:
  explicit SecretKey(const std::array<std::uint8_t, key_bytes>& bytes) : bytes_(bytes) {}
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey();

  [[nodiscard]] const std::array<std::uint8_t, key_bytes>& bytes() const noexcept { return bytes_; }
  /// The other half.
  [[nodiscard]] PublicKey public_key() const;

 private:
  std::array<std::uint8_t, key_bytes> bytes_;
};

/// A new random key.
[[nodiscard]] SecretKey make_secret_key();

/// Parses a key of 40 Z85 characters. `where` begins the error: `users.toml:3: expected a key of 40 Z85
/// characters, got 39 characters`. The error does not contain the text, which may be a secret.
Result<PublicKey> parse_public_key(std::string_view text, std::string_view where);
Result<SecretKey> parse_secret_key(std::string_view text, std::string_view where);

/// The key in Z85.
[[nodiscard]] std::string to_text(const PublicKey& key);
[[nodiscard]] std::string to_text(const SecretKey& key);

}  // namespace backplane
