#pragma once
// HOST:PORT of a broker, whose ports follow from one.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane {

/// Where a broker's TCP endpoints are. A value.
struct BrokerAddress {
  /// The ports follow from the first one by these offsets.
  static constexpr std::uint16_t default_port = 5570;
  static constexpr std::uint16_t egress_offset = 1;
  static constexpr std::uint16_t control_offset = 2;

  std::string host;                   ///< as an endpoint has it: IPv6 in brackets
  std::uint16_t port = default_port;  ///< of ingress

  [[nodiscard]] std::string ingress() const { return endpoint(0); }
  [[nodiscard]] std::string egress() const { return endpoint(egress_offset); }
  [[nodiscard]] std::string control() const { return endpoint(control_offset); }

 private:
  [[nodiscard]] std::string endpoint(std::uint16_t offset) const;
};

/// Parses HOST or HOST:PORT of a broker. HOST is a name, an IPv4 address, or an IPv6 address with or, without
/// a port, also without brackets. PORT is the port of ingress; the other two ports of the default (5571,
/// 5572) stand for it, too. `where` begins the error.
Result<BrokerAddress> parse_broker_address(std::string_view text, std::string_view where);

}  // namespace backplane
