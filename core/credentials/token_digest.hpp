#pragma once
// Digests of tokens, by which a program recognises a token that it has verified before.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace backplane {

/// A digest. Comparing two takes the same time whatever they are.
struct TokenDigest {
  std::array<std::uint8_t, 32> bytes{};
  friend bool operator==(const TokenDigest& a, const TokenDigest& b) noexcept;
};

/// For hash tables. A digest is uniformly distributed, and nobody else can compute it.
struct TokenDigestHash {
  std::size_t operator()(const TokenDigest& digest) const noexcept;
};

/// Computes digests with a random key of its own: they mean nothing to anybody who does not have the key, and
/// are never stored. Immutable; any thread. The key is overwritten when it is destroyed.
class TokenDigester {
 public:
  TokenDigester();
  ~TokenDigester();
  TokenDigester(const TokenDigester&) = delete;
  TokenDigester& operator=(const TokenDigester&) = delete;

  [[nodiscard]] TokenDigest digest(std::string_view token) const;

 private:
  std::array<std::uint8_t, 32> key_{};
};

}  // namespace backplane
