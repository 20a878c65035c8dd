// Any bytes from a WebSocket client: the first byte determines the pieces, the rest is the stream.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/wire/scan.hpp"
#include "gateway/commands/line_grammar.hpp"
#include "gateway/encode/websocket_frame.hpp"
#include "gateway/protocols/websocket/frame_reader.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;
using namespace backplane::gateway;
using websocket::FrameReader;
using websocket::Opcode;

constexpr LineReader::Limits limits{.line_bytes_max = 256, .publish_bytes_max = 4096};

struct Read {
  std::vector<std::pair<Opcode, std::string>> messages;
  std::optional<websocket::CloseCode> fault;
  bool operator==(const Read&) const = default;
};

void check(Opcode what, std::string_view payload) {
  if (what == Opcode::text) {
    const bool publishes = is_publish(payload);
    fuzz::expect(payload.size() <= (publishes ? limits.publish_bytes_max : limits.line_bytes_max),
                 "a message is within its limit");
    fuzz::expect(wire::is_utf8(payload), "a message is UTF-8");
    return;
  }
  fuzz::expect(payload.size() <= websocket::control_bytes_max, "a control frame is short");
  if (what != Opcode::close || payload.empty()) return;
  fuzz::expect(payload.size() >= 2, "a close has a whole code");
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(payload[at]); };
  fuzz::expect(websocket::may_be_sent(static_cast<std::uint16_t>(byte(0) << 8 | byte(1))),
               "a close has a code that may be sent");
  fuzz::expect(wire::is_utf8(payload.substr(2)), "a close's reason is UTF-8");
}

Read read(std::string_view bytes, std::size_t piece) {
  FrameReader reader(limits);
  Read result;
  bool closed = false;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    const auto fault = reader.read(bytes.substr(0, piece), [&](Opcode what, std::string_view payload) {
      fuzz::expect(!closed && !result.fault, "nothing is taken behind a close or a fault");
      closed = what == Opcode::close;
      check(what, payload);
      result.messages.emplace_back(what, payload);
      return true;
    });
    if (fault) result.fault = fault->code;
  }
  return result;
}

/// The frame that the gateway would write is the same frame without its mask.
void check_written(std::string_view payload) {
  std::string line(payload);
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::string framed;
  websocket::append_frame(Opcode::text, line, framed);
  std::string lines = line + "\n" + line + "\n";
  websocket::frame_lines(0, lines);
  fuzz::expect(lines == framed + framed, "each line becomes a frame");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  const Read whole = read(bytes, std::max<std::size_t>(bytes.size(), 1));
  fuzz::expect(whole == read(bytes, data[0] % 16u + 1u), "messages are the same however the bytes come");
  for (const auto& [what, payload] : whole.messages) {
    if (what == Opcode::text) (void)parse_line(payload);
    check_written(payload);
  }
  return 0;
}
