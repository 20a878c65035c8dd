#include "broker/log/log_head.hpp"

#include <algorithm>
#include <charconv>
#include <map>

#include <fmt/format.h>

namespace backplane::broker {
namespace {

constexpr std::string_view version = "1";

using Lines = std::map<std::string_view, std::string_view>;

Lines lines_of(std::string_view text) {
  Lines lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    const std::size_t space = std::min(line.find(' '), line.size());
    lines[line.substr(0, space)] = line.substr(std::min(space + 1, line.size()));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return lines;
}

template <class Number>
bool read(const Lines& lines, std::string_view name, Number& value, int base = 10) {
  const auto found = lines.find(name);
  if (found == lines.end()) return false;
  const auto [end, error] = std::from_chars(found->second.begin(), found->second.end(), value, base);
  return error == std::errc{} && end == found->second.end();
}

}  // namespace

std::string encode(const LogHead& head) {
  return fmt::format(
      "backplane-log {}\nbackplane {}\nlog {:016x}\nstream {:016x}\nrules {}\nmax_topics {}\nmax_sessions "
      "{}\n"
      "max_event_bytes {}\npolicy {}\ncreated_by {}\n",
      version, head.backplane, head.log, head.stream, head.rules, head.max_topics, head.max_sessions,
      head.max_event_bytes, head.has_policy ? "yes" : "no", head.created_by);
}

Result<LogHead> decode_head(std::string_view text) {
  const Lines lines = lines_of(text);
  const auto text_of = [&](std::string_view name) {
    const auto found = lines.find(name);
    return found == lines.end() ? std::string_view{} : found->second;
  };
  if (text_of("backplane-log") != version) {
    return fail(ErrorCode::protocol, fmt::format("the head of the log: expected version {}, got \"{}\"",
                                                 version, text_of("backplane-log").substr(0, 32)));
  }
  LogHead head;
  head.backplane = text_of("backplane");
  head.created_by = text_of("created_by");
  head.has_policy = text_of("policy") == "yes";
  if (!read(lines, "log", head.log, 16) || !read(lines, "stream", head.stream, 16) ||
      !read(lines, "rules", head.rules) || !read(lines, "max_topics", head.max_topics) ||
      !read(lines, "max_sessions", head.max_sessions) ||
      !read(lines, "max_event_bytes", head.max_event_bytes) || head.backplane.empty()) {
    return fail(ErrorCode::protocol, "the head of the log cannot be read");
  }
  return head;
}

Result<void> check_same(const LogHead& mine, const LogHead& found) {
  const auto differs = [&](std::string_view what, const auto& expected, const auto& got) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected {}, as in the log of backplane \"{}\" (created by {}), got {}",
                            what, expected, found.backplane, found.created_by, got));
  };
  if (mine.backplane != found.backplane) return differs("name", found.backplane, mine.backplane);
  if (mine.rules != found.rules) return differs("version of the rules", found.rules, mine.rules);
  if (mine.max_topics != found.max_topics) return differs("max_topics", found.max_topics, mine.max_topics);
  if (mine.max_sessions != found.max_sessions) {
    return differs("max_sessions", found.max_sessions, mine.max_sessions);
  }
  if (mine.max_event_bytes != found.max_event_bytes) {
    return differs("max_event_bytes", found.max_event_bytes, mine.max_event_bytes);
  }
  if (mine.has_policy != found.has_policy) {
    return differs("policy", found.has_policy ? "a policy" : "no policy", mine.has_policy ? "one" : "none");
  }
  return {};
}

}  // namespace backplane::broker
