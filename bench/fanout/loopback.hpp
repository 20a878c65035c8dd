#pragma once
// Connections of this machine with itself.

#include <netinet/in.h>

#include "core/process/descriptor.hpp"

namespace backplane::bench {

/// Ends the program, with errno's text, where something does not work.
void must(bool works, const char* what);

/// A listener on a free port of 127.0.0.1. What does not work ends the program.
class Loopback {
 public:
  Loopback();
  /// A connection from here to here: the other end is the next accept()'s. May be called in a child process.
  [[nodiscard]] Descriptor connect() const;
  /// Non-blocking, and without Nagle's delay. Blocks until there is one.
  [[nodiscard]] Descriptor accept() const;

 private:
  Descriptor listener_;
  sockaddr_in address_{};
};

}  // namespace backplane::bench
