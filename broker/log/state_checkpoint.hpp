#pragma once
// The bytes of a checkpoint of the state machine.

#include <cstdint>
#include <string>
#include <string_view>

#include "broker/access/access.hpp"
#include "broker/log/replicated_log.hpp"
#include "broker/state/backplane_state.hpp"
#include "core/error/error.hpp"

namespace backplane {
class TypeRegistry;
}

namespace backplane::broker {

/// Everything that decides about the events after `place`: two brokers that have applied the same log have
/// the same bytes. Takes about 0.1 µs per topic and session.
/// @param users knows the names of the sessions' users
/// @param types nullptr: there are none
[[nodiscard]] std::string encode_state(const BackplaneState& state, const Access& users,
                                       const LogPlace& place, const TypeRegistry* types = nullptr);

/// The position of the stream in a checkpoint. Does not check the rest of it.
[[nodiscard]] Result<std::uint64_t> position_in_checkpoint(std::string_view bytes);

/// Restores a state that is new. @returns where it is in the log, or an error: the checkpoint is damaged, is
/// of other rules, or exceeds the limits of this broker. The state is then unusable.
[[nodiscard]] Result<LogPlace> restore_state(std::string_view bytes, BackplaneState& state, Access& users,
                                             TypeRegistry* types = nullptr);

}  // namespace backplane::broker
