// Any bytes as the Z85 text of a key, and, behind the first line feed, as the hash of a token.

#include "core/credentials/key.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/credentials/token_hash.hpp"
#include "tests/fuzz/expect.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backplane;
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  const std::size_t split = std::min(input.find('\n'), size);
  const std::string_view text = input.substr(0, split);
  const auto key = parse_public_key(text, "key");
  const auto secret = parse_secret_key(text, "key");
  fuzz::expect(key.has_value() == secret.has_value(), "both keys have the same form");
  if (key) {
    fuzz::expect(to_text(*key) == text && to_text(*secret) == text, "a key has one text");
  } else {
    const std::string& error = key.error().text;
    fuzz::expect(error.starts_with("key: expected a key of 40 Z85 characters, got ") && error.size() < 90,
                 "an error has no room for a key");
  }
  const std::string_view rest = split < size ? input.substr(split + 1) : std::string_view{};
  if (check_token_hash(rest, "token")) {
    fuzz::expect(rest.size() < 128 && rest.starts_with("$argon2id$"), "a hash has bounded parameters");
  }
  (void)check_token(rest, "token");
  if (input.size() >= key_bytes) {
    PublicKey any;
    std::copy_n(data, key_bytes, any.bytes.begin());
    fuzz::expect(parse_public_key(to_text(any), "key") == any, "every key has a text that means it");
  }
  return 0;
}
