#include "broker/store/files.hpp"

namespace backplane::broker::store {

Result<std::string> read_all(const File& file) {
  const auto size = file.size();
  if (!size) return tl::unexpected(size.error());
  std::string bytes(*size, '\0');
  const auto read = file.read(0, std::as_writable_bytes(std::span(bytes)));
  if (!read) return tl::unexpected(read.error());
  bytes.resize(*read);
  return bytes;
}

Result<void> replace(Files& files, std::string_view name, std::string_view bytes) {
  const std::string temporary = std::string(name) + ".tmp";
  const auto file = files.create(temporary);
  if (!file) return tl::unexpected(file.error());
  if (auto ok = (*file)->append(std::as_bytes(std::span(bytes))); !ok) {
    (void)files.remove(temporary);  // it takes room; if it stays, the next attempt replaces it
    return ok;
  }
  if (auto ok = (*file)->sync(); !ok) return ok;
  if (auto ok = files.rename(temporary, name); !ok) return ok;
  return files.sync_names();
}

}  // namespace backplane::broker::store
