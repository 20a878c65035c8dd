#pragma once
// The files of a directory of this machine.

#include <memory>
#include <string>

#include "broker/store/files.hpp"

namespace backplane::broker::store {

/// @returns the files in the directory `path`, which is touched first by Files::open(). The lock on it ends
/// with the object, or with the process.
[[nodiscard]] std::unique_ptr<Files> posix_files(std::string path);

/// The same for reading only: nothing is created, locked or changed, and the directory may be read-only or
/// another user's. `path` may be relative. Everything that would change a file returns an error.
[[nodiscard]] std::unique_ptr<Files> read_only_posix_files(std::string path);

}  // namespace backplane::broker::store
