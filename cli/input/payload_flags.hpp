#pragma once
// The payload of `backplane pub`.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane::cli {

/// The options and arguments that say what the payload is.
struct PayloadFlags {
  std::optional<std::string> text{};
  std::string file{};
  std::string json_type{};
  bool standard_input{};
  bool clear{};
};

/// The payload that the flags name; no value for --clear. Reads a file or standard input to its end. An error
/// if not exactly one of TEXT, --file, --stdin and --clear is given, or if there are more than `bytes_max`
/// bytes.
Result<std::optional<std::string>> read_payload(const PayloadFlags& flags, std::size_t bytes_max);

/// Reads `fd` to its end, at most `bytes_max` bytes. `where` begins the errors.
Result<std::string> read_all(int fd, std::string_view where, std::size_t bytes_max);

}  // namespace backplane::cli
