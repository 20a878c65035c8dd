#include "core/credentials/token_digest.hpp"

#include <cstring>

#include "core/credentials/sodium.hpp"

namespace backplane {

bool operator==(const TokenDigest& a, const TokenDigest& b) noexcept {
  return sodium_memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

std::size_t TokenDigestHash::operator()(const TokenDigest& digest) const noexcept {
  std::size_t hash = 0;
  std::memcpy(&hash, digest.bytes.data(), sizeof hash);
  return hash;
}

TokenDigester::TokenDigester() {
  prepare_sodium();
  randombytes_buf(key_.data(), key_.size());
}

TokenDigester::~TokenDigester() {
  sodium_memzero(key_.data(), key_.size());
}

TokenDigest TokenDigester::digest(std::string_view token) const {
  TokenDigest digest;
  crypto_generichash(digest.bytes.data(), digest.bytes.size(),
                     reinterpret_cast<const unsigned char*>(token.data()), token.size(), key_.data(),
                     key_.size());
  return digest;
}

}  // namespace backplane
