#pragma once
// The number of a user.

#include <cstdint>

namespace backplane::broker {

/// Identifies a user of the policy by name: the same as long as the process, whatever the policy becomes. 0:
/// nobody. Never on the wire.
enum class UserNumber : std::uint32_t {};
inline constexpr UserNumber no_user{0};

}  // namespace backplane::broker
