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

/// Appends a notice: `!GAP topic first last reason` or `!RESET topic`; in json `{"gap":{…}}` or
/// `{"reset":{…}}`, which include the stream; in sse the object is an event of that name; in proto a
/// ServerMessage.
void append_notice(Format format, const Notice& notice, std::string& out);

/// Appends a notice about the whole session: `!WAIT broker`, `{"wait":"broker"}` or a ServerMessage.
/// `word` is WAIT, LIVE, BYE or KEEPALIVE, which is an empty message in proto.
void append_session_line(Format format, std::string_view word, std::string_view text, std::string& out);

// Replies to commands. They are lines in json too, which lets a client that waits for a reply ignore the
// format: no object begins with + or -.

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
