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
class Admissions {
 public:
  /// `brokers` outlive it. Throws zmq::error_t where libzmq cannot make its sockets.
  explicit Admissions(const std::vector<PublisherEndpoints>& brokers);
  ~Admissions();
  Admissions(const Admissions&) = delete;
  Admissions& operator=(const Admissions&) = delete;

  /// Up to which sequence a session's events were admitted or refused, by any of the brokers; 0: none of
  /// those that answered knows of it. Nothing where no broker answers.
  [[nodiscard]] std::optional<std::uint64_t> dealt_with(const std::string& source, std::uint64_t session);

  /// The session of the source whose hello carries this counter. Nothing where no broker knows it yet.
  [[nodiscard]] std::optional<std::uint64_t> session_with(const std::string& source,
                                                          const std::string& counter, std::uint64_t value);

 private:
  class Link;
  std::vector<std::unique_ptr<Link>> links_;
};

}  // namespace backplane::sources
