#pragma once
// What clients receive besides events: notices and replies, in each format.

#include <cstdint>
#include <string>
#include <string_view>

#include "follower/control/broker_info.hpp"
#include "gateway/encode/encoder.hpp"

namespace backplane::gateway {

/// A gap: events of one topic that a client will never receive. Or a reset: the topic's numbering has
/// restarted.
struct Notice {
  enum class Kind : std::uint8_t { gap, reset };
  Kind kind{Kind::gap};
  std::string topic;
  std::uint64_t stream{};
  // Of a gap only. `first` is 0 if it is unknown.
  std::uint64_t first{};
  std::uint64_t last{};
  std::string_view reason;  ///< a reason code: slow_consumer, history_gone, …; a static string
};

/// A client of ZMTP that subscribes to a prefix of `$SYS.gap.<topic>` gets the gaps of the topic.
inline constexpr std::string_view gap_topic_prefix = "$SYS.gap.";
/// Whether the prefix of a subscription asks for gaps. `""` does not ask for the system's topics.
[[nodiscard]] constexpr bool asks_for_gaps(std::string_view prefix) noexcept {
  return !prefix.empty() && (prefix.starts_with(gap_topic_prefix) || gap_topic_prefix.starts_with(prefix));
}
/// Whether a subscription to `prefix` gets the gaps of `topic`.
[[nodiscard]] constexpr bool asks_for_gaps(std::string_view prefix, std::string_view topic) noexcept {
  return asks_for_gaps(prefix) && (prefix.size() <= gap_topic_prefix.size() ||
                                   topic.starts_with(prefix.substr(gap_topic_prefix.size())));
}

/// Appends a notice: `!GAP topic first last reason` or `!RESET topic`; in json `{"gap":{…}}` or
/// `{"reset":{…}}`, which include the stream; in sse the object is an event of that name; in proto a
/// ServerMessage. In zmtp, a gap is an Event on the topic `$SYS.gap.<topic>`, with a ServerMessage.Gap and a
/// stamp whose offset is 0, and a reset is nothing: the stamps of later events show the new stream. In
/// mqtt_record it is a record, and in the other formats of MQTT nothing.
void append_notice(Format format, const Notice& notice, std::string& out);

/// Appends a notice about the whole session: `!WAIT broker`, `{"wait":"broker"}` or a ServerMessage.
/// `word` is WAIT, LIVE, BYE or KEEPALIVE, which is an empty message in proto. In zmtp, nothing is appended.
void append_session_line(Format format, std::string_view word, std::string_view text, std::string& out);

/// Appends an Event of the gateway itself, without payload, as a ZeroMQ message: the reply to a subscription
/// to `$SYS.live.<nonce>`. Its stamp says from where on the client has every event of the stream.
void append_live_event(std::string_view topic, std::uint64_t stream, std::uint64_t position,
                       std::string& out);

// Replies to commands, for formats other than zmtp. They are lines in json too, which lets a client that
// waits for a reply ignore the format: no object begins with + or -.

/// Appends lines that are the same in all formats except proto. In websocket, each line is a text frame
/// without its LF; this is true of all functions below.
void append_lines(Format format, std::string_view lines, std::string& out);
/// `+OK word argument`, without the argument if it is empty. In proto, this and all replies below are a
/// ServerMessage.
void append_ok(Format format, std::string_view word, std::string_view argument, std::string& out);
/// `-ERR code text`. `text` is one line that a terminal can display.
void append_error(Format format, std::string_view code, std::string_view text, std::string& out);
/// `+PONG`
void append_pong(Format format, std::string& out);
/// `{"topic":"stock.MSFT","offset":17,"bytes":128,"age":2.1}`: append_topic() as an object, without a line
/// end.
void append_topic_object(const TopicInfo& topic, std::int64_t now_ns, std::string& out);
/// `+TOPIC stock.MSFT 17 128 2.1`: name, last offset, bytes of the retained value, and its age in s at
/// `now_ns` (Unix time).
void append_topic(Format format, const TopicInfo& topic, std::int64_t now_ns, std::string& out);

}  // namespace backplane::gateway
