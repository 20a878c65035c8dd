#pragma once
// What `backplane pub` publishes.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane::cli {

/// The words of the command line that say what an event's payload is.
struct PayloadFlags {
  std::optional<std::string> text{};
  std::string file{};
  std::string json_type{};
  bool standard_input{};
  bool clear{};
};

/// The bytes that the flags mean: exactly one of them may. Reads a file or standard input to its end, of
/// which there may be at most `bytes_max`. Nothing for --clear.
Result<std::optional<std::string>> read_payload(const PayloadFlags& flags, std::size_t bytes_max);

/// All that can be read from `fd`; `where` begins the errors.
Result<std::string> read_all(int fd, std::string_view where, std::size_t bytes_max);

}  // namespace backplane::cli
