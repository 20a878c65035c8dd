// Any bytes from a client of the line protocol: the first byte determines the pieces, the rest is the stream.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/payload/text.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"
#include "gateway/access/authenticator.hpp"
#include "gateway/commands/line_grammar.hpp"
#include "gateway/session/first_line.hpp"
#include "gateway/session/line_reader.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;
using namespace backplane::gateway;
using Lines = std::vector<std::pair<std::string, bool>>;

struct Read {
  Lines lines;
  std::string telnet_replies;
  bool operator==(const Read&) const = default;
};

Read lines_of(std::string_view bytes, std::size_t piece) {
  LineReader reader({.line_bytes_max = 64, .publish_bytes_max = 128});
  Lines lines;
  const auto on_line = [&](std::string_view text, bool too_long) {
    fuzz::expect(text.size() <= 128 && text.find_first_of("\r\n") == std::string_view::npos,
                 "a line is one line within its limit");
    lines.emplace_back(text, too_long);
    return true;
  };
  std::string replies;
  const std::size_t size = bytes.size();
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    reader.read(bytes.substr(0, piece), on_line);
    replies += reader.take_telnet_replies();
  }
  reader.finish(on_line);
  fuzz::expect(replies.size() <= size && replies.size() % 3 == 0, "each telnet option gets one reply");
  return {lines, replies};
}

void check_subscribe(const Subscribe& subscribe) {
  fuzz::expect(check_pattern(subscribe.pattern.str()) == TopicFault::none, "a pattern is one");
  fuzz::expect(subscribe.every.count() == 0 || (subscribe.every >= every_min && subscribe.every <= every_max),
               "every has its limits");
  if (const auto* ago = std::get_if<std::chrono::nanoseconds>(&subscribe.since)) {
    fuzz::expect(ago->count() > 0 && *ago <= since_max, "since has its limits");
  } else if (const auto* after = std::get_if<AfterPositions>(&subscribe.since)) {
    const auto again = parse_resume_token(resume_token(after->positions));
    fuzz::expect(again && *again == after->positions, "a resume token is written as it was read");
  } else if (std::holds_alternative<AfterOffset>(subscribe.since)) {
    fuzz::expect(subscribe.pattern.is_exact(), "an offset is one topic's");
  }
}

void check_command(std::string_view text) {
  const Command command = parse_line(text);
  if (const auto* bad = std::get_if<BadCommand>(&command)) {
    const bool authenticates = text.size() >= 5 && (text[0] | 0x20) == 'a' && (text[1] | 0x20) == 'u' &&
                               (text[2] | 0x20) == 't' && (text[3] | 0x20) == 'h' && text[4] == ' ';
    fuzz::expect(!authenticates || bad->text.find(", got \"") == std::string::npos,
                 "an error does not show a token");
    const bool plain = std::none_of(bad->text.begin(), bad->text.end(),
                                    [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
    fuzz::expect(plain && wire::is_utf8(bad->text), "an error is one line that a terminal can show");
    fuzz::expect(!bad->code.empty() && bad->code.find(' ') == std::string::npos, "a code is one word");
  } else if (const auto* subscribe = std::get_if<Subscribe>(&command)) {
    check_subscribe(*subscribe);
  } else if (const auto* authenticate = std::get_if<Authenticate>(&command)) {
    fuzz::expect(!check_sent_token(authenticate->token), "a token is printable and of bounded length");
    const auto parts = split_token(authenticate->token);
    fuzz::expect(!parts || (!parts->first.empty() && !parts->second.empty()),
                 "name and secret are not empty");
  } else if (const auto* topics = std::get_if<ListTopics>(&command)) {
    fuzz::expect(check_pattern(topics->pattern) == TopicFault::none, "a pattern is one");
  } else if (const auto* publish = std::get_if<Publish>(&command)) {
    fuzz::expect(check_topic(publish->topic) == TopicFault::none && !is_system_topic(publish->topic),
                 "only what may be published is");
    std::string escaped;
    append_escaped(publish->text, escaped);
    fuzz::expect(escaped.find('\n') == std::string::npos, "escaped text is one line");
    fuzz::expect(unescape(escaped) == publish->text, "escapes are undone to the same bytes");
  }
}

/// Which protocol a first line belongs to does not depend on the pieces that it comes in.
void check_first_line(std::string_view line) {
  if (protocol_of(line) == Protocol::http) {
    const std::string_view version = line.substr(line.size() - 9);
    fuzz::expect(version.starts_with(" HTTP/") && version[7] == '.', "an HTTP request has a version");
  }
  for (std::size_t size = 0; size < line.size(); ++size) {
    const std::string_view beginning = line.substr(0, size);
    fuzz::expect(!begins_as_http(beginning) || begins_as_http(line), "a method stays one");
    fuzz::expect(!begins_as_telnet(beginning) || begins_as_telnet(line), "telnet stays telnet");
    fuzz::expect(!is_publish(line) || may_be_publish(beginning), "what becomes a PUB may become one");
    fuzz::expect(!is_publish(beginning) || is_publish(line), "a PUB stays one");
  }
}

/// The bytes after the line at which a reader stops are returned completely.
void check_rest(std::string_view bytes) {
  LineReader reader({.line_bytes_max = 64, .publish_bytes_max = 128});
  bool stopped = false;
  const std::string_view rest = reader.read(bytes, [&](std::string_view text, bool) {
    stopped = text.starts_with("FORMAT proto");
    return !stopped;
  });
  fuzz::expect(stopped ? bytes.ends_with(rest) : rest.empty(), "only what follows is given back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  const Read whole = lines_of(bytes, std::max<std::size_t>(bytes.size(), 1));
  fuzz::expect(whole == lines_of(bytes, data[0] % 16u + 1u), "lines are the same however the bytes come");
  check_rest(bytes);
  for (const auto& [text, too_long] : whole.lines) {
    if (!too_long) check_command(text);
    check_first_line(text);
  }
  return 0;
}
