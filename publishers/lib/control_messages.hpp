#pragma once
// What a publisher asks a broker's control, and what the broker answers (proto/backplane/v1/control.proto).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane::publishing {

using Counters = std::vector<std::pair<std::string, std::uint64_t>>;

/// "I am here", or, with `closing`, "I go".
[[nodiscard]] std::string encode_hello(std::uint64_t id, const std::string& source, std::uint64_t session,
                                       bool closing, const Counters& counters);

/// "How far have you come with my session?"
[[nodiscard]] std::string encode_admitted(std::uint64_t id, const std::string& source, std::uint64_t session);

/// "These are types of mine." `files` are serialised google.protobuf.FileDescriptorProtos.
[[nodiscard]] std::string encode_types(std::uint64_t id, const std::vector<std::string>& files);

/// A reply, as far as a publisher cares.
struct BrokerReply {
  struct Hello {
    std::uint64_t max_event_bytes{};  ///< 0: not told
  };
  struct Admitted {
    std::uint64_t sequence{};
    std::uint64_t refused_sequence{};
    std::uint64_t refused{};
    std::string refused_reason;
  };
  std::uint64_t id{};
  std::uint64_t stream{};
  bool draining{};
  std::optional<Hello> hello;
  std::optional<Admitted> admitted;
  std::string error;  ///< one line; empty: none
};

/// @returns nothing where the bytes are not a reply.
[[nodiscard]] std::optional<BrokerReply> decode_reply(std::string_view bytes);

}  // namespace backplane::publishing
