#include "cli/input/payload_flags.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/process/descriptor.hpp"

namespace backplane::cli {
namespace {

tl::unexpected<Error> wrong(std::string text) {
  return fail(ErrorCode::invalid_argument, std::move(text));
}

}  // namespace

Result<std::string> read_all(int fd, std::string_view where, std::size_t bytes_max) {
  std::string all;
  std::array<char, 64u << 10> piece{};
  for (;;) {
    const ssize_t bytes = ::read(fd, piece.data(), piece.size());
    if (bytes == 0) return all;
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return wrong(fmt::format("{}: {}", where, std::strerror(errno)));
    all.append(piece.data(), static_cast<std::size_t>(bytes));
    if (all.size() > bytes_max)
      return wrong(fmt::format("{}: expected at most {} bytes, got more", where, bytes_max));
  }
}

Result<std::optional<std::string>> read_payload(const PayloadFlags& flags, std::size_t bytes_max) {
  const int given = (flags.text ? 1 : 0) + (flags.file.empty() ? 0 : 1) + (flags.standard_input ? 1 : 0) +
                    (flags.clear ? 1 : 0);
  if (given != 1) {
    return wrong(fmt::format("expected one of TEXT, --file, --stdin and --clear, got {}",
                             given == 0 ? "none" : "several"));
  }
  if (flags.clear && !flags.json_type.empty()) return wrong("--json: cannot be combined with --clear");
  if (flags.clear) return std::optional<std::string>{};
  if (flags.text) return std::optional(*flags.text);
  if (flags.standard_input) {
    auto bytes = read_all(STDIN_FILENO, "--stdin", bytes_max);
    if (!bytes) return tl::unexpected(bytes.error());
    return std::optional(std::move(*bytes));
  }
  const std::string where = fmt::format("--file {}", flags.file);
  const Descriptor file(::open(flags.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return wrong(fmt::format("{}: {}", where, std::strerror(errno)));
  auto bytes = read_all(file.get(), where, bytes_max);
  if (!bytes) return tl::unexpected(bytes.error());
  return std::optional(std::move(*bytes));
}

}  // namespace backplane::cli
