#include "core/credentials/key.hpp"

#include <optional>
#include <span>

#include <fmt/format.h>

#include "core/credentials/sodium.hpp"

namespace backplane {
namespace {

using KeyBytes = std::array<std::uint8_t, key_bytes>;

static_assert(key_bytes == crypto_box_SECRETKEYBYTES);
static_assert(key_bytes == crypto_box_PUBLICKEYBYTES);

constexpr std::string_view alphabet =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
constexpr std::uint8_t not_a_digit = 255;

constexpr std::array<std::uint8_t, 256> digits = [] {
  std::array<std::uint8_t, 256> all{};
  all.fill(not_a_digit);
  for (std::size_t value = 0; value < alphabet.size(); ++value) {
    all[static_cast<unsigned char>(alphabet[value])] = static_cast<std::uint8_t>(value);
  }
  return all;
}();

std::string encode(const KeyBytes& bytes) {
  std::string text(key_text_bytes, '\0');
  for (std::size_t group = 0; group < key_bytes / 4; ++group) {
    std::uint32_t value = 0;
    for (std::size_t byte = 0; byte < 4; ++byte) value = value << 8 | bytes[group * 4 + byte];
    for (std::size_t digit = 5; digit-- > 0; value /= 85) text[group * 5 + digit] = alphabet[value % 85];
  }
  return text;
}

Result<KeyBytes> decode(std::string_view text, std::string_view where) {
  const auto expected = [&](const std::string& got) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected a key of {} Z85 characters, got {}", where, key_text_bytes, got));
  };
  if (text.size() != key_text_bytes) return expected(fmt::format("{} characters", text.size()));
  KeyBytes bytes{};
  for (std::size_t group = 0; group < key_bytes / 4; ++group) {
    std::uint64_t value = 0;
    for (std::size_t digit = 0; digit < 5; ++digit) {
      const std::size_t at = group * 5 + digit;
      const std::uint8_t each = digits[static_cast<unsigned char>(text[at])];
      if (each == not_a_digit) return expected(fmt::format("another character at {}", at + 1));
      value = value * 85 + each;
    }
    // Five digits can express more than 32 bits. A key has one text only.
    if (value > UINT32_MAX) return expected(fmt::format("too large a number at {}", group * 5 + 1));
    for (std::size_t byte = 4; byte-- > 0; value >>= 8) {
      bytes[group * 4 + byte] = static_cast<std::uint8_t>(value & 0xff);
    }
  }
  return bytes;
}

}  // namespace

SecretKey::~SecretKey() {
  sodium_memzero(bytes_.data(), bytes_.size());
}

PublicKey SecretKey::public_key() const {
  PublicKey key;
  crypto_scalarmult_base(key.bytes.data(), bytes_.data());
  return key;
}

SecretKey make_secret_key() {
  prepare_sodium();
  KeyBytes public_half{};
  KeyBytes secret{};
  crypto_box_keypair(public_half.data(), secret.data());
  SecretKey key(secret);
  sodium_memzero(secret.data(), secret.size());
  return key;
}

Result<PublicKey> parse_public_key(std::string_view text, std::string_view where) {
  return decode(text, where).map([](const KeyBytes& bytes) { return PublicKey{bytes}; });
}

Result<SecretKey> parse_secret_key(std::string_view text, std::string_view where) {
  return decode(text, where).map([](const KeyBytes& bytes) { return SecretKey(bytes); });
}

std::string to_text(const PublicKey& key) {
  return encode(key.bytes);
}

std::string to_text(const SecretKey& key) {
  return encode(key.bytes());
}

}  // namespace backplane
