#pragma once
// What brokers know about a publisher's sessions, including sessions that have ended.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backplane/publisher.hpp"

namespace backplane::v1 {
class ControlReply;
class ControlRequest;
}  // namespace backplane::v1

namespace backplane::sources {

/// Sends requests to the control endpoints of brokers. Belongs to one thread; owns its sockets. Each call
/// blocks for at most half a second per broker and request.
class SessionLookup {
 public:
  /// `brokers` must outlive this object. Throws std::invalid_argument if a key cannot be read, and
  /// zmq::error_t if libzmq cannot create the sockets.
  SessionLookup(const std::vector<PublisherEndpoints>& brokers, const Credentials& credentials);
  ~SessionLookup();
  SessionLookup(const SessionLookup&) = delete;
  SessionLookup& operator=(const SessionLookup&) = delete;

  /// The highest sequence up to which any of the brokers has admitted or refused the session's events; 0 if
  /// none of the brokers that replied knows the session. Nothing if no broker replies.
  [[nodiscard]] std::optional<std::uint64_t> confirmed_sequence(const std::string& source,
                                                                std::uint64_t session);

 private:
  class Connection;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace backplane::sources
