#include "gateway/notice.hpp"

#include <iterator>

#include <fmt/format.h>

#include "gateway/encode/text.hpp"

namespace backplane::gateway {

void append_notice(Format format, const Notice& notice, std::string& out) {
  const bool gap = notice.kind == Notice::Kind::gap;
  auto end = std::back_inserter(out);
  if (format != Format::json) {
    if (gap) {
      fmt::format_to(end, "!GAP {} {} {} {}\n", notice.topic, notice.first, notice.last, notice.reason);
    } else {
      fmt::format_to(end, "!RESET {}\n", notice.topic);
    }
    return;
  }
  out.append(gap ? "{\"gap\":{\"topic\":" : "{\"reset\":{\"topic\":");
  append_json_string(notice.topic, out);
  fmt::format_to(end, ",\"stream\":\"{:016x}\"", notice.stream);
  if (gap)
    fmt::format_to(end, ",\"first\":{},\"last\":{},\"reason\":\"{}\"", notice.first, notice.last,
                   notice.reason);
  out.append("}}\n");
}

void append_session_line(Format format, std::string_view word, std::string_view text, std::string& out) {
  if (format != Format::json) {
    fmt::format_to(std::back_inserter(out), "!{} {}\n", word, text);
    return;
  }
  out.append("{\"");
  for (const char letter : word) out.push_back(static_cast<char>(letter - 'A' + 'a'));
  out.append("\":");
  append_json_string(text, out);
  out.append("}\n");
}

}  // namespace backplane::gateway
