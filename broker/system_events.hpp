#pragma once
// The broker's own events, on the $SYS topics.

#include <cstdint>
#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace backplane::broker {

/// A serialised Event of source "broker@<backplane>" with `payload`, without a sequence, and with the time
/// `now_ns` (Unix, nanoseconds).
[[nodiscard]] std::string system_event(std::string_view backplane, const google::protobuf::Message& payload,
                                       std::int64_t now_ns);

/// Whether a subscription requests a live reply: it is to the whole topic $SYS.live.<nonce>.
[[nodiscard]] bool is_live_request(std::string_view subscription) noexcept;

inline constexpr std::string_view drain_topic = "$SYS.drain";
[[nodiscard]] std::string stats_topic(std::string_view backplane);

}  // namespace backplane::broker
