#pragma once
// Texts that a client keeps for us and must not read.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace backplane {

/// Encrypts short texts that are given to a client and come back later: it can neither read nor change them,
/// and sees their length only roughly. The key is random and never leaves the object, so that only the object
/// that has sealed a text opens it. A value type without state beside the key; any number of threads can use
/// it.
class TextSealer {
 public:
  /// Throws if the system has no source of random numbers.
  TextSealer();

  /// Takes about 1 µs. @param text at most 65,535 bytes
  [[nodiscard]] std::string seal(std::string_view text) const;
  /// Opens any bytes. @returns nothing if seal() of this object has not made them.
  [[nodiscard]] std::optional<std::string> open(std::string_view sealed) const;

 private:
  std::array<std::uint8_t, 32> key_;
};

}  // namespace backplane
