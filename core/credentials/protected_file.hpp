#pragma once
// Files that other users of the machine must not change, or not even see.

#include <cstddef>
#include <filesystem>
#include <string>

#include "core/error/error.hpp"

namespace backplane {

/// What other users may do with a file. The owner's group counts as other users; root does not.
enum class OthersMay : std::uint8_t { read, nothing };

/// Reads a regular file of at most `bytes_max` bytes. Refused is a file that belongs to another user than
/// this one or root, that others can write, that others can read although `others_may` is nothing, or that
/// lies in a folder in which anybody can replace it. Symbolic links are followed.
/// @returns the content, or an error with the file's name, which says what to do:
///          `broker.key: expected a file that other users can neither read nor write, got mode 0644 (use
///          chmod 600)`.
Result<std::string> read_protected_file(const std::filesystem::path& file, OthersMay others_may,
                                        std::size_t bytes_max);

/// Creates a file that only this user can read and write, with this content, which is synced to the disk. An
/// existing file is never changed. @returns an error if the file exists or cannot be written; then there is
/// no new file.
Result<void> create_protected_file(const std::filesystem::path& file, std::string_view content,
                                   OthersMay others_may);

}  // namespace backplane
