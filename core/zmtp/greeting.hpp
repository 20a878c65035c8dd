#pragma once
// The first bytes of a connection.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/zmtp/fault.hpp"
#include "core/zmtp/socket_type.hpp"

namespace backplane::zmtp {

/// A version of the protocol that both sides speak: 2.0, 3.0 or 3.1.
struct Version {
  std::uint8_t major{};
  std::uint8_t minor{};
  friend bool operator==(const Version&, const Version&) = default;
};

enum class Mechanism : std::uint8_t { null, plain, curve };

/// "NULL", "PLAIN" or "CURVE".
[[nodiscard]] std::string_view name(Mechanism mechanism) noexcept;

/// A peer's greeting.
struct Greeting {
  Version version;
  std::optional<Mechanism> mechanism;     ///< nothing: it is not one of the three; NULL in 2.0
  bool as_server{};                       ///< ZMTP 3 only
  std::optional<SocketType> socket_type;  ///< ZMTP 2.0 only; nothing: there is no such type
};

/// Reads a greeting from bytes that arrive in pieces of any size: 64 bytes in ZMTP 3, 12 in ZMTP 2.0. Belongs
/// to one connection.
class GreetingReader {
 public:
  static constexpr std::size_t signature_bytes = 10;

  /// Removes the bytes of the greeting from `bytes`. @returns what is wrong with them.
  [[nodiscard]] Fault read(std::string_view& bytes);
  /// The peer's version is known: the rest of our own greeting depends on it.
  [[nodiscard]] bool version_is_known() const noexcept { return size_ > signature_bytes; }
  [[nodiscard]] bool is_complete() const noexcept { return size_ == needed(); }
  /// Once it is complete.
  [[nodiscard]] Greeting greeting() const;

 private:
  static constexpr std::size_t old_greeting_bytes = 12;
  static constexpr std::size_t greeting_bytes = 64;

  [[nodiscard]] bool is_old() const noexcept;
  [[nodiscard]] std::size_t needed() const noexcept {
    return version_is_known() && is_old() ? old_greeting_bytes : greeting_bytes;
  }
  [[nodiscard]] Fault check_last() const noexcept;

  std::array<char, greeting_bytes> bytes_{};
  std::size_t size_{};
};

/// The first part of our greeting: the signature, and version 3. It may be sent before the peer has sent
/// anything. A peer sends its own version when it has received this, if not before.
void append_signature(std::string& out);
/// The rest for a peer that speaks ZMTP 3. It is in order to send it when the peer's greeting is complete:
/// peers send all of theirs without waiting for it.
void append_greeting_rest(Mechanism mechanism, bool as_server, std::string& out);
/// The rest for a peer that speaks ZMTP 2.0: our socket type, and an empty identity, which is a frame.
void append_old_greeting_rest(SocketType own, std::string& out);

}  // namespace backplane::zmtp
