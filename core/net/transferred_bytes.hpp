#pragma once
// How many bytes a connection has transferred.

#include <cstdint>
#include <optional>

namespace backplane {

/// The bytes that the kernel has received on this TCP connection since it began, as far as they are
/// acknowledged; none if `descriptor` is no TCP socket. libzmq reports whole messages only, so this is how a
/// message that is still arriving shows.
[[nodiscard]] std::optional<std::uint64_t> received_bytes(int descriptor);

/// The bytes sent on this TCP connection since it began that the other side's kernel has acknowledged; none
/// if `descriptor` is no TCP socket. This is how it shows that a large message, which no reply confirms yet,
/// is on its way.
[[nodiscard]] std::optional<std::uint64_t> acknowledged_bytes(int descriptor);

}  // namespace backplane
