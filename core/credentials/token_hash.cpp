#include "core/credentials/token_hash.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "core/credentials/sodium.hpp"
#include "core/log/escape.hpp"

namespace backplane {
namespace {

constexpr std::uint32_t memory_kib_max = 256 * 1024;
constexpr std::uint32_t passes_max = 16;

/// Removes `prefix` from the beginning of `text`. @returns whether it was there.
bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// Removes a number of 1..max from the beginning of `text`.
bool take_number(std::string_view& text, std::uint32_t max) {
  std::uint32_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || text.front() == '0' || number > max) return false;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  return true;
}

/// Whether `text` is base64 without padding, of min..max characters.
bool is_base64(std::string_view text, std::size_t min, std::size_t max) {
  return text.size() >= min && text.size() <= max && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
                  c == '/';
         });
}

bool is_hash(std::string_view hash) {
  if (hash.size() >= crypto_pwhash_STRBYTES) return false;
  if (!take(hash, "$argon2id$v=19$m=") || !take_number(hash, memory_kib_max)) return false;
  if (!take(hash, ",t=") || !take_number(hash, passes_max)) return false;
  if (!take(hash, ",p=1$")) return false;
  const std::size_t dollar = hash.find('$');
  if (dollar == std::string_view::npos) return false;
  return is_base64(hash.substr(0, dollar), 11, 64) && is_base64(hash.substr(dollar + 1), 22, 86);
}

}  // namespace

Result<void> check_token(std::string_view token, std::string_view where) {
  const bool printable = std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (printable && !token.empty() && token.size() <= token_bytes_max) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: expected a token of 1..{} printable ASCII characters without spaces, got {}",
                          where, token_bytes_max,
                          !printable ? "another character" : fmt::format("{} characters", token.size())));
}

Result<std::string> hash_token(std::string_view token) {
  prepare_sodium();
  std::array<char, crypto_pwhash_STRBYTES> hash{};
  if (crypto_pwhash_str(hash.data(), token.data(), token.size(), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                        crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0) {
    return fail(ErrorCode::exhausted, fmt::format("cannot hash the token: {} MiB of memory are needed",
                                                  crypto_pwhash_MEMLIMIT_INTERACTIVE >> 20));
  }
  return std::string(hash.data());
}

Result<void> check_token_hash(std::string_view hash, std::string_view where) {
  if (is_hash(hash)) return {};
  // Not the text: it may be the token itself, entered by mistake.
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("{}: expected a line of `backplane policy hash`, $argon2id$v=19$m=..,t=..,p=1$..$.. "
                  "of at most {} MiB and {} passes, got something else",
                  where, memory_kib_max / 1024, passes_max));
}

bool is_token_of_hash(std::string_view token, std::string_view hash) {
  prepare_sodium();
  const std::string terminated(hash);
  return crypto_pwhash_str_verify(terminated.c_str(), token.data(), token.size()) == 0;
}

}  // namespace backplane
