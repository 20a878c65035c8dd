#pragma once
// Which listeners can be reached from other machines.

#include <string_view>

namespace backplane {

/// Whether a listener at this host can be reached from this machine only: `localhost`, or an IPv4 or IPv6
/// address of the loopback network in any form that the system accepts (127.1, ::ffff:127.0.0.1; without
/// brackets). False for other names: they are not looked up, because what they mean can change.
[[nodiscard]] bool is_loopback_host(std::string_view host);

/// The same for a ZeroMQ endpoint to bind to. True for ipc and inproc, and for a network interface that has
/// loopback addresses only.
[[nodiscard]] bool is_loopback_endpoint(std::string_view endpoint);

/// What to do instead of listening on an address that other machines can reach. An error continues after it
/// with `, got "0.0.0.0:1601"` and loopback_advice.
inline constexpr std::string_view loopback_expected =
    "a loopback address, because clients are not authenticated";
inline constexpr std::string_view loopback_advice =
    "; serve other machines through a tunnel or a proxy that authenticates, or give --insecure if you trust "
    "everybody who can reach this address";

/// How a program that permits these addresses reports it: at its start, on /readyz and in `top`.
inline constexpr std::string_view insecure_note =
    "insecure: clients of every address are served without authentication";
/// The same with a policy, which the clients of every address are subject to: of a broker, and of a gateway.
inline constexpr std::string_view insecure_metrics_note =
    "insecure: /metrics may be served to every address, without authentication";
inline constexpr std::string_view insecure_plaintext_note =
    "insecure: clients of every address are served without encryption";

}  // namespace backplane
