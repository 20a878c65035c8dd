#include "core/credentials/text_sealer.hpp"

#include "core/credentials/sodium.hpp"
#include "core/error/error.hpp"

namespace backplane {
namespace {

// A topic of any length and its length fit into one block.
constexpr std::size_t block_bytes = 320;
constexpr std::size_t length_bytes = 2;
constexpr std::size_t head_bytes = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;

unsigned char* bytes_of(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}
const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

TextSealer::TextSealer() {
  static_assert(sizeof key_ == crypto_secretbox_KEYBYTES);
  prepare_sodium();
  crypto_secretbox_keygen(key_.data());
}

std::string TextSealer::seal(std::string_view text) const {
  CHECK(text.size() <= 0xffff, "a text to seal has at most 65,535 bytes");
  std::string padded(1, static_cast<char>(text.size() >> 8));
  padded += static_cast<char>(text.size() & 0xff);
  padded += text;
  padded.resize((padded.size() + block_bytes - 1) / block_bytes * block_bytes);

  std::string sealed(head_bytes + padded.size(), '\0');
  unsigned char* const nonce = bytes_of(sealed);
  randombytes_buf(nonce, crypto_secretbox_NONCEBYTES);
  crypto_secretbox_easy(nonce + crypto_secretbox_NONCEBYTES, bytes_of(std::string_view(padded)),
                        padded.size(), nonce, key_.data());
  return sealed;
}

std::optional<std::string> TextSealer::open(std::string_view sealed) const {
  if (sealed.size() < head_bytes + length_bytes) return std::nullopt;
  std::string padded(sealed.size() - head_bytes, '\0');
  const unsigned char* const nonce = bytes_of(sealed);
  if (crypto_secretbox_open_easy(bytes_of(padded), nonce + crypto_secretbox_NONCEBYTES,
                                 sealed.size() - crypto_secretbox_NONCEBYTES, nonce, key_.data()) != 0) {
    return std::nullopt;
  }
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(padded[at]); };
  const std::size_t size = static_cast<std::size_t>(byte(0)) << 8 | byte(1);
  return padded.substr(length_bytes, size);
}

}  // namespace backplane
