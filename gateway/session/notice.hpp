#pragma once
// What a reader is told beside events: in the form of its format.

#include <cstdint>
#include <string>
#include <string_view>

#include "follower/control/broker_info.hpp"
#include "gateway/encode/encoder.hpp"

namespace backplane::gateway {

/// Events of one topic that a reader will never get, or a topic's numbering begun anew.
struct Notice {
  enum class Kind : std::uint8_t { gap, reset };
  Kind kind{Kind::gap};
  std::string topic;
  std::uint64_t stream{};
  // Of a gap alone. `first` is 0 where nobody knows it.
  std::uint64_t first{};
  std::uint64_t last{};
  std::string_view reason;  ///< a word of the ledger's: slow_consumer, history_gone, …; never freed
};

/// Appends it as a line: `!GAP topic first last reason`, `!RESET topic`; where the reader's events are
/// json, `{"gap":{…}}` and `{"reset":{…}}`, which have the stream too; in proto, a ServerMessage. In sse the
/// object is an event of that name.
void append_notice(Format format, const Notice& notice, std::string& out);

/// Appends what concerns the whole session: `!WAIT broker`, or `{"wait":"broker"}`, or a ServerMessage.
/// `word` is WAIT, LIVE or BYE.
void append_session_line(Format format, std::string_view word, std::string_view text, std::string& out);

// Answers to commands. They are lines in json too, so that whoever waits for an answer need not know the
// format: no object begins with + or -.

/// Whole lines that are the same in all formats but proto; in websocket each of them is a text frame without
/// its LF, and so are all below.
void append_lines(Format format, std::string_view lines, std::string& out);
/// `+OK word argument`; an empty argument is left out. A ServerMessage in proto, as all below.
void append_ok(Format format, std::string_view word, std::string_view argument, std::string& out);
/// `-ERR code text`; `text` is one line that a terminal can show.
void append_error(Format format, std::string_view code, std::string_view text, std::string& out);
/// `+PONG`
void append_pong(Format format, std::string& out);
/// `{"topic":"stock.MSFT","offset":17,"bytes":128,"age":2.1}`, the same as an object, without a line's end.
void append_topic_object(const TopicInfo& topic, std::int64_t now_ns, std::string& out);
/// `+TOPIC stock.MSFT 17 128 2.1`: name, last offset, bytes of the retained value, age in s at `now_ns`
/// (Unix).
void append_topic(Format format, const TopicInfo& topic, std::int64_t now_ns, std::string& out);

}  // namespace backplane::gateway
