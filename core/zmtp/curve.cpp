#include "core/zmtp/curve.hpp"

#include <cstring>

#include "core/credentials/sodium.hpp"
#include "core/error/error.hpp"
#include "core/zmtp/big_endian.hpp"
#include "core/zmtp/command.hpp"
#include "core/zmtp/frame.hpp"

namespace backplane::zmtp {
namespace {

using Nonce = std::array<unsigned char, crypto_box_NONCEBYTES>;

constexpr std::size_t mac = crypto_box_MACBYTES;
constexpr std::size_t short_nonce_bytes = 8;
constexpr std::size_t long_nonce_bytes = 16;

// Where the parts of each command begin, counted from the byte with its name's length.
constexpr std::size_t hello_bytes = 200;
constexpr std::size_t hello_version_at = 6;
constexpr std::size_t hello_key_at = 80;
constexpr std::size_t hello_nonce_at = 112;
constexpr std::size_t hello_box_at = 120;
constexpr std::size_t hello_signature_bytes = 64;

constexpr std::size_t cookie_bytes = 96;

constexpr std::size_t initiate_cookie_at = 9;
constexpr std::size_t initiate_nonce_at = initiate_cookie_at + cookie_bytes;
constexpr std::size_t initiate_box_at = initiate_nonce_at + short_nonce_bytes;
// In the box: the client's key, and the vouch, which is a box itself.
constexpr std::size_t vouch_nonce_at = key_bytes;
constexpr std::size_t vouch_at = vouch_nonce_at + long_nonce_bytes;
constexpr std::size_t vouch_bytes = mac + 2 * key_bytes;
constexpr std::size_t metadata_at = vouch_at + vouch_bytes;

constexpr std::size_t message_nonce_at = 8;
constexpr std::size_t message_box_at = message_nonce_at + short_nonce_bytes;

// The flags of a frame within a box.
constexpr unsigned boxed_more = 1;
constexpr unsigned boxed_command = 2;

const unsigned char* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* bytes_of(std::string& text) noexcept {
  return reinterpret_cast<unsigned char*>(text.data());
}
std::string_view text_of(const std::array<std::uint8_t, 32>& bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The first bytes of a nonce are fixed for each kind of box, the rest is different in each box.
Nonce nonce_of(std::string_view fixed, std::string_view varying) noexcept {
  Nonce nonce{};
  std::memcpy(nonce.data(), fixed.data(), fixed.size());
  std::memcpy(nonce.data() + fixed.size(), varying.data(), varying.size());
  return nonce;
}

std::string random_text(std::size_t size) {
  std::string random(size, '\0');
  randombytes_buf(random.data(), random.size());
  return random;
}

std::string as_text(std::uint64_t number) {
  std::string text;
  append_big_endian(number, text);
  return text;
}

/// @param opened at least box.size() - mac bytes
bool open_box(std::string_view box, const Nonce& nonce, const unsigned char* sender_key,
              const unsigned char* own_secret_key, unsigned char* opened) noexcept {
  return crypto_box_open_easy(opened, bytes_of(box), box.size(), nonce.data(), sender_key, own_secret_key) ==
         0;
}

bool is_named(std::string_view command, std::string_view name) noexcept {
  const auto parsed = parse_command(command);
  return parsed && parsed->name == name;
}

}  // namespace

CurveServer::CurveServer(const SecretKey& server_key) : server_key_(server_key) {
  static_assert(key_bytes == crypto_box_PUBLICKEYBYTES);
  static_assert(key_bytes == crypto_box_SECRETKEYBYTES);
  static_assert(key_bytes == crypto_box_BEFORENMBYTES);
  static_assert(box_overhead == message_box_at + mac + 1);
  prepare_sodium();
}

CurveServer::~CurveServer() {
  sodium_memzero(own_short_secret_key_.data(), own_short_secret_key_.size());
  sodium_memzero(shared_key_.data(), shared_key_.size());
}

Fault CurveServer::read_hello(std::string_view command) {
  if (!is_named(command, command::hello)) return Fault::unexpected_command;
  if (command.size() != hello_bytes) return Fault::bad_command;
  if (command.substr(hello_version_at, 2) != std::string_view("\x01\x00", 2)) return Fault::bad_command;
  std::memcpy(client_short_key_.data(), command.data() + hello_key_at, key_bytes);
  const Nonce nonce = nonce_of("CurveZMQHELLO---", command.substr(hello_nonce_at, short_nonce_bytes));
  std::array<unsigned char, hello_signature_bytes> signature{};
  if (!open_box(command.substr(hello_box_at), nonce, client_short_key_.data(), server_key_.bytes().data(),
                signature.data())) {
    return Fault::bad_box;
  }
  return sodium_is_zero(signature.data(), signature.size()) == 1 ? Fault::none : Fault::bad_box;
}

/// The cookie is meant to contain the server's state of the connection, so that a server can forget it. It is
/// opaque to the client. This server keeps its state, so random bytes are enough.
void CurveServer::append_welcome(std::string& out) {
  crypto_box_keypair(own_short_key_.data(), own_short_secret_key_.data());
  randombytes_buf(cookie_.data(), cookie_.size());
  std::string plain(text_of(own_short_key_));
  plain.append(reinterpret_cast<const char*>(cookie_.data()), cookie_.size());
  const std::string varying = random_text(long_nonce_bytes);
  std::string box(mac + plain.size(), '\0');
  const bool made = crypto_box_easy(bytes_of(box), bytes_of(std::string_view(plain)), plain.size(),
                                    nonce_of("WELCOME-", varying).data(), client_short_key_.data(),
                                    server_key_.bytes().data()) == 0;
  CHECK(made, "HELLO's box has been opened with the same keys");
  append_command(command::welcome, varying + box, out);
}

Fault CurveServer::read_initiate(std::string_view command, Initiate& initiate) {
  if (!is_named(command, command::initiate)) return Fault::unexpected_command;
  if (command.size() < initiate_box_at + mac + metadata_at) return Fault::bad_command;
  if (sodium_memcmp(command.data() + initiate_cookie_at, cookie_.data(), cookie_.size()) != 0)
    return Fault::bad_box;
  const std::string_view short_nonce = command.substr(initiate_nonce_at, short_nonce_bytes);
  const std::string_view box = command.substr(initiate_box_at);
  std::string plain(box.size() - mac, '\0');
  if (!open_box(box, nonce_of("CurveZMQINITIATE", short_nonce), client_short_key_.data(),
                own_short_secret_key_.data(), bytes_of(plain))) {
    return Fault::bad_box;
  }
  std::memcpy(initiate.client.bytes.data(), plain.data(), key_bytes);
  // The vouch shows that the owner of the client's key has made the key of this connection, for this server.
  const std::string_view vouch = std::string_view(plain).substr(vouch_at, vouch_bytes);
  const Nonce vouch_nonce =
      nonce_of("VOUCH---", std::string_view(plain).substr(vouch_nonce_at, long_nonce_bytes));
  std::array<unsigned char, 2 * key_bytes> vouched{};
  if (!open_box(vouch, vouch_nonce, initiate.client.bytes.data(), own_short_secret_key_.data(),
                vouched.data())) {
    return Fault::bad_box;
  }
  const PublicKey own = server_key_.public_key();
  if (std::memcmp(vouched.data(), client_short_key_.data(), key_bytes) != 0 ||
      std::memcmp(vouched.data() + key_bytes, own.bytes.data(), key_bytes) != 0) {
    return Fault::bad_box;
  }
  if (crypto_box_beforenm(shared_key_.data(), client_short_key_.data(), own_short_secret_key_.data()) != 0)
    return Fault::bad_box;
  sodium_memzero(own_short_secret_key_.data(), own_short_secret_key_.size());
  received_nonce_ = load_big_endian<std::uint64_t>(short_nonce);
  initiate.metadata = plain.substr(metadata_at);
  return Fault::none;
}

void CurveServer::append_ready(std::string_view metadata, std::string& out) {
  const std::string varying = as_text(++sent_nonce_);
  std::string box(mac + metadata.size(), '\0');
  crypto_box_easy_afternm(bytes_of(box), bytes_of(metadata), metadata.size(),
                          nonce_of("CurveZMQREADY---", varying).data(), shared_key_.data());
  append_command(command::ready, varying + box, out);
}

Fault CurveServer::open(std::string_view message, Opened& opened) {
  if (!is_named(message, command::message)) return Fault::unexpected_command;
  if (message.size() < message_box_at + mac + 1) return Fault::bad_command;
  const std::string_view short_nonce = message.substr(message_nonce_at, short_nonce_bytes);
  const auto nonce = load_big_endian<std::uint64_t>(short_nonce);
  if (nonce <= received_nonce_) return Fault::repeated_nonce;
  const std::string_view box = message.substr(message_box_at);
  opened_.resize(box.size() - mac);
  if (crypto_box_open_easy_afternm(bytes_of(opened_), bytes_of(box), box.size(),
                                   nonce_of("CurveZMQMESSAGEC", short_nonce).data(),
                                   shared_key_.data()) != 0) {
    return Fault::bad_box;
  }
  received_nonce_ = nonce;
  const auto flags = static_cast<unsigned char>(opened_[0]);
  opened.more = (flags & boxed_more) != 0;
  opened.command = (flags & boxed_command) != 0;
  opened.body = std::string_view(opened_).substr(1);
  return Fault::none;
}

void CurveServer::append_box(unsigned flags, std::string_view body, std::string& out) {
  append_frame_head(0, body.size() + box_overhead, out);
  append_command_name(command::message, out);
  append_big_endian(++sent_nonce_, out);
  const Nonce nonce =
      nonce_of("CurveZMQMESSAGES", std::string_view(out).substr(out.size() - short_nonce_bytes));
  // The text is encrypted where it is: behind the place of its authentication code.
  const std::size_t box_at = out.size();
  out.append(mac, '\0');
  out.push_back(static_cast<char>(((flags & flag::more) != 0 ? boxed_more : 0) |
                                  ((flags & flag::command) != 0 ? boxed_command : 0)));
  out.append(body);
  unsigned char* const box = bytes_of(out) + box_at;
  crypto_box_detached_afternm(box + mac, box, box + mac, body.size() + 1, nonce.data(), shared_key_.data());
}

}  // namespace backplane::zmtp
