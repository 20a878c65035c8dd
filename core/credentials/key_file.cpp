#include "core/credentials/key_file.hpp"

#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "core/credentials/protected_file.hpp"
#include "core/credentials/sodium.hpp"
#include "core/log/escape.hpp"

namespace backplane {
namespace {

/// A key and its line ending.
constexpr std::size_t file_bytes_max = 256;

/// A text whose memory is overwritten when it is no longer needed.
struct Secret {
  std::string text;
  explicit Secret(std::string secret) : text(std::move(secret)) {}
  ~Secret() { sodium_memzero(text.data(), text.size()); }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  [[nodiscard]] std::string_view trimmed() const {
    std::string_view rest = text;
    while (!rest.empty() && (rest.back() == '\n' || rest.back() == '\r' || rest.back() == ' ')) {
      rest.remove_suffix(1);
    }
    return rest;
  }
};

}  // namespace

KeyFiles key_files(const std::filesystem::path& name) {
  return {name.string() + ".key", name.string() + ".pub"};
}

Result<void> write_key_files(const KeyFiles& files, const SecretKey& key) {
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(files.public_key, error))) {
    return fail(ErrorCode::io,
                fmt::format("cannot create {}: File exists", log::escape(files.public_key.string())));
  }
  const Secret secret(to_text(key) + "\n");
  auto written = create_protected_file(files.secret, secret.text, OthersMay::nothing);
  if (!written) return written;
  written = create_protected_file(files.public_key, to_text(key.public_key()) + "\n", OthersMay::read);
  if (!written) ::unlink(files.secret.c_str());
  return written;
}

Result<SecretKey> read_secret_key(const std::filesystem::path& file) {
  auto content = read_protected_file(file, OthersMay::nothing, file_bytes_max);
  if (!content) return tl::unexpected(content.error());
  const Secret secret(std::move(*content));
  return parse_secret_key(secret.trimmed(), log::escape(file.string()));
}

Result<PublicKey> read_public_key(const std::filesystem::path& file) {
  auto content = read_protected_file(file, OthersMay::read, file_bytes_max);
  if (!content) return tl::unexpected(content.error());
  return parse_public_key(Secret(std::move(*content)).trimmed(), log::escape(file.string()));
}

}  // namespace backplane
