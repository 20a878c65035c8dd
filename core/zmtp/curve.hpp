#pragma once
// CURVE on the side of the server (https://rfc.zeromq.org/spec/26).

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/credentials/key.hpp"
#include "core/zmtp/fault.hpp"

namespace backplane::zmtp {

/// The cryptography of one connection: the handshake, then the boxes of its messages. Belongs to one
/// connection. Keys of the connection are overwritten when it is destroyed.
///
/// The order of the calls is read_hello(), append_welcome(), read_initiate(), append_ready(); then open() and
/// append_box(). After a fault, no other call.
class CurveServer {
 public:
  /// What a client's INITIATE contains.
  struct Initiate {
    PublicKey client;      ///< the client's own key; it has proved that it knows the other half
    std::string metadata;  ///< see parse_metadata()
  };
  /// A decrypted frame.
  struct Opened {
    bool more{};
    bool command{};
    std::string_view body;  ///< valid until the next call
  };

  /// @param server_key the key that clients know the other half of
  explicit CurveServer(const SecretKey& server_key);
  ~CurveServer();
  CurveServer(const CurveServer&) = delete;
  CurveServer& operator=(const CurveServer&) = delete;

  /// @param command the body of a command frame; so in read_initiate()
  [[nodiscard]] Fault read_hello(std::string_view command);
  /// Appends a WELCOME as a frame.
  void append_welcome(std::string& out);
  [[nodiscard]] Fault read_initiate(std::string_view command, Initiate& initiate);
  /// Appends a READY as a frame.
  void append_ready(std::string_view metadata, std::string& out);

  /// Decrypts the body of a frame, a MESSAGE. Its memory is reused.
  [[nodiscard]] Fault open(std::string_view message, Opened& opened);
  /// Appends a MESSAGE with an encrypted frame, as a frame.
  /// @param flags more, command or 0; see frame.hpp
  void append_box(unsigned flags, std::string_view body, std::string& out);

  /// By how much a frame grows when it is encrypted.
  static constexpr std::size_t box_overhead = 33;

 private:
  using Bytes32 = std::array<std::uint8_t, 32>;

  SecretKey server_key_;
  Bytes32 client_short_key_{};      // C', the client's for this connection
  Bytes32 own_short_key_{};         // S', ours
  Bytes32 own_short_secret_key_{};  // s', until the handshake is complete
  Bytes32 shared_key_{};            // of C' and S'
  std::array<std::uint8_t, 96> cookie_{};
  std::uint64_t sent_nonce_{};
  std::uint64_t received_nonce_{};
  std::string opened_;  // scratch memory
};

}  // namespace backplane::zmtp
