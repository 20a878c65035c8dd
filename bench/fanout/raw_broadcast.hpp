#pragma once
// The simplest possible broadcast server: the cost of fan-out alone.

#include <memory>
#include <string_view>
#include <vector>

#include "core/process/descriptor.hpp"

namespace backplane::bench {

/// Sends the same bytes to all sockets, on the caller's thread: no topics, no counters, no limits. Clients
/// must stay connected. For a slow client, it keeps a copy of the bytes that the client has yet to read.
class RawBroadcast {
 public:
  explicit RawBroadcast(std::vector<Descriptor> sockets);
  ~RawBroadcast();
  RawBroadcast(const RawBroadcast&) = delete;
  RawBroadcast& operator=(const RawBroadcast&) = delete;

  void send(std::string_view bytes);
  /// Writes what the sockets did not accept at once, until `fd` is readable.
  void serve_until_readable(int fd);

 private:
  struct Socket;
  void write_rest(Socket& socket);

  Descriptor epoll_;
  std::vector<std::unique_ptr<Socket>> sockets_;
};

}  // namespace backplane::bench
