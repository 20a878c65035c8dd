#pragma once
// What a broker knows of a publisher's sessions, also of one that has ended.

#include <chrono>
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

/// Asks brokers' control endpoints. Belongs to one thread; owns its sockets. Each question blocks for at most
/// half a second a broker.
class SessionLookup {
 public:
  /// `brokers` outlive it. Throws zmq::error_t where libzmq cannot make its sockets.
  explicit SessionLookup(const std::vector<PublisherEndpoints>& brokers);
  ~SessionLookup();
  SessionLookup(const SessionLookup&) = delete;
  SessionLookup& operator=(const SessionLookup&) = delete;

  /// Up to which sequence a session's events were admitted or refused, by any of the brokers; 0: none of
  /// those that answered knows of it. Nothing where no broker answers.
  [[nodiscard]] std::optional<std::uint64_t> confirmed_sequence(const std::string& source,
                                                                std::uint64_t session);

  /// The session of the source whose hello carries this counter. Nothing where no broker knows it yet.
  [[nodiscard]] std::optional<std::uint64_t> find_session(const std::string& source,
                                                          const std::string& counter, std::uint64_t value);

 private:
  class Connection;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace backplane::sources
