#pragma once
// Requests of the ZeroMQ Authentication Protocol (https://rfc.zeromq.org/spec/27), decisions, and replies.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/admission/endpoint_rule.hpp"
#include "core/policy/policy.hpp"

namespace backplane::broker {

/// What a decision uses of a request.
struct ZapRequest {
  std::string id;
  std::string domain;
  std::string address;
  std::string mechanism;
  std::string credentials;  ///< with CURVE: the client's public key
};

/// Reads the frames of a request: version, id, domain, address, identity, mechanism, credentials. Any frames
/// are safe. Of a request in another form, only the id is read: it is refused like one without credentials.
[[nodiscard]] ZapRequest parse_zap_request(std::vector<std::string> frames);

struct ZapDecision {
  enum class Kind : std::uint8_t {
    admitted,
    unknown_key,    ///< refused: no CURVE key, or one that no user has
    not_permitted,  ///< refused: the user may not connect to this endpoint
  };
  Kind kind{Kind::unknown_key};
  std::string user{};    ///< the name of the user who may connect; empty: refused
  std::string reason{};  ///< for people, one line; empty: admitted
};

/// Decides by the rule of the request's domain.
[[nodiscard]] ZapDecision decide(const ZapRequest& request, const std::vector<EndpointRule>& rules,
                                 const policy::Policy& policy);

/// The frames of the reply. They are views into the arguments.
[[nodiscard]] std::array<std::string_view, 6> zap_reply(const ZapRequest& request,
                                                        const ZapDecision& decision);

}  // namespace backplane::broker
