#pragma once
// A publisher's requests to a broker's control endpoint, and the replies (proto/backplane/v1/control.proto).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane::publishing {

using Counters = std::vector<std::pair<std::string, std::uint64_t>>;

/// Announces the publisher, or, with `closing`, that it is about to exit.
[[nodiscard]] std::string encode_hello(std::uint64_t id, const std::string& source, std::uint64_t session,
                                       bool closing, const Counters& counters);

/// Asks up to which sequence the broker has admitted or refused the session's events.
[[nodiscard]] std::string encode_admitted(std::uint64_t id, const std::string& source, std::uint64_t session);

/// Registers types. `files` are serialised google.protobuf.FileDescriptorProtos.
[[nodiscard]] std::string encode_types(std::uint64_t id, const std::vector<std::string>& files);

/// The parts of a control reply that a publisher uses.
struct BrokerReply {
  struct Hello {
    std::uint64_t max_event_bytes{};  ///< 0: unknown
  };
  struct Admitted {
    std::uint64_t sequence{};
    std::uint64_t refused_sequence{};
    std::uint64_t refused{};
    std::string refused_reason;
    std::uint32_t connections{};  ///< by which the session's events came; 0: none, or the broker does not say
  };
  std::uint64_t id{};
  std::uint64_t stream{};
  bool draining{};
  std::optional<Hello> hello;
  std::optional<Admitted> admitted;
  std::string error;  ///< one line; empty: none
};

/// @returns nothing if the bytes are not a reply.
[[nodiscard]] std::optional<BrokerReply> decode_reply(std::string_view bytes);

}  // namespace backplane::publishing
