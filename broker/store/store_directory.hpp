#pragma once
// Where stores are, and which process has one open.

#include <string>
#include <vector>

#include "core/error/error.hpp"

namespace backplane::broker::store {

/// The stores in the directory `path`: itself, or those directly in it, as `--data` makes them, by name.
/// @returns `invalid_argument` if there is none, or the error of the operating system.
[[nodiscard]] Result<std::vector<std::string>> find_stores(const std::string& path);

/// The process that has the store in the directory `path` open: "process 4711 on host7"; empty if none has.
/// Looks at the lock without taking it: a broker that starts at this moment is not hindered. Does not see
/// processes of other machines.
[[nodiscard]] std::string store_user(const std::string& path);

}  // namespace backplane::broker::store
