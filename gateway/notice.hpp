#pragma once
// What a reader is told beside events.

#include <cstdint>
#include <string>
#include <string_view>

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
/// json, `{"gap":{…}}` and `{"reset":{…}}`.
void append_notice(Format format, const Notice& notice, std::string& out);

/// Appends a line about the session: `!WAIT broker`, or `{"wait":"broker"}`. `word` is upper case.
void append_session_line(Format format, std::string_view word, std::string_view text, std::string& out);

}  // namespace backplane::gateway
