#pragma once
// What a client publishes, as an event.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "gateway/protocols/mqtt/packets/packet.hpp"
#include "gateway/session/requests.hpp"

namespace backplane::gateway::mqtt {

/// A PUBLISH or a will. The views outlive the call.
struct Publication {
  std::string_view topic;
  std::string_view payload;
  std::uint8_t qos{};
  bool retain{};
  const Properties& properties;
};

/// The request that publishes it: the payload is text if it is UTF-8, unless its content type says otherwise;
/// an empty one that is to be retained clears the topic's value. QoS, retain and expiry are noted in the
/// attribute `mqtt`, and all other properties become attributes.
/// @param origin identifies the client to itself, for No Local; empty: not needed
/// @param now_s Unix time, from which the message's expiry counts
/// @param tag as EventParts::tag
[[nodiscard]] tl::expected<request::Publish, Fault> publication_event(const Publication& publication,
                                                                      std::string_view origin,
                                                                      std::int64_t now_s, std::uint32_t tag);

}  // namespace backplane::gateway::mqtt
