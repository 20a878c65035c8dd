#pragma once
// Connections within this machine.

#include <netinet/in.h>

#include "core/process/descriptor.hpp"

namespace backplane::bench {

/// Prints `what` and errno's text and exits, if `works` is false.
void must(bool works, const char* what);

/// A listener on a free port of 127.0.0.1. Errors end the program.
class Loopback {
 public:
  Loopback();
  /// Connects to the listener; the next accept() returns the other end. May be called in a child process.
  [[nodiscard]] Descriptor connect() const;
  /// Waits for a connection. @returns its socket, which does not block and has no Nagle delay
  [[nodiscard]] Descriptor accept() const;

 private:
  Descriptor listener_;
  sockaddr_in address_{};
};

}  // namespace backplane::bench
