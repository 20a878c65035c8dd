#pragma once
// Event files: ServerMessages, each preceded by its length, as `sub --format proto` writes them.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane::v1 {
class ServerMessage;
}

namespace backplane::cli {

/// Reads an event file, one message at a time. Belongs to one thread; does not own the descriptor.
class EventFileReader {
 public:
  /// @param name  begins the errors: `day.events: byte 4711: …`
  EventFileReader(int fd, std::string name);
  ~EventFileReader();
  EventFileReader(const EventFileReader&) = delete;
  EventFileReader& operator=(const EventFileReader&) = delete;

  /// @returns the next message, which is valid until the next call; nullptr at the end of the file; or an
  ///          error in the file, after which nothing more can be read.
  Result<const v1::ServerMessage*> next();

 private:
  /// Reads until the buffer has `bytes` bytes. @returns false at the end of the file.
  Result<bool> fill(std::size_t bytes);
  [[nodiscard]] tl::unexpected<Error> wrong(std::string_view text) const;

  int fd_;
  std::string name_;
  std::string buffer_;
  std::size_t taken_{};    // bytes at its front that were returned
  std::uint64_t place_{};  // position of the buffer's front in the file
  std::unique_ptr<v1::ServerMessage> message_;
};

}  // namespace backplane::cli
