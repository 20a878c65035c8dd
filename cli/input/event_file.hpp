#pragma once
// Files of events: ServerMessages, each behind its length, as `sub --format proto` writes them.

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

/// Reads one message after the other, with one of them in memory. Belongs to one thread; owns no descriptor.
class EventFileReader {
 public:
  /// @param name  begins the errors: `day.events: byte 4711: …`
  EventFileReader(int fd, std::string name);
  ~EventFileReader();
  EventFileReader(const EventFileReader&) = delete;
  EventFileReader& operator=(const EventFileReader&) = delete;

  /// @returns the next message, which holds until the next call; nullptr at the end of the file; or what is
  /// wrong
  ///          with the file, after which there is nothing more to be had of it.
  Result<const v1::ServerMessage*> next();

 private:
  /// Reads until there are `bytes` in the buffer, or the file's end. @returns whether there are.
  Result<bool> fill(std::size_t bytes);
  [[nodiscard]] tl::unexpected<Error> wrong(std::string_view text) const;

  int fd_;
  std::string name_;
  std::string buffer_;
  std::size_t taken_{};    // bytes at its front that were dealt with
  std::uint64_t place_{};  // of the buffer's front in the file
  std::unique_ptr<v1::ServerMessage> message_;
};

}  // namespace backplane::cli
