#pragma once
// Who learns of a socket's connections.

namespace backplane::broker {

/// Learns which connections of a listening socket have closed. Called on the socket's thread.
class ConnectionObserver {
 public:
  virtual ~ConnectionObserver() = default;
  virtual void closed(int descriptor) = 0;
};

}  // namespace backplane::broker
