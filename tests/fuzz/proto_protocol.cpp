// Any bytes from a client in format proto: the first byte determines the pieces, the rest is the stream.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/payload/payload_json.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"
#include "gateway/protocols/proto/client_message.hpp"
#include "gateway/protocols/proto/message_reader.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;
using namespace backplane::gateway;
using proto::MessageReader;
using Read = std::pair<std::vector<std::string>, MessageReader::Fault>;

constexpr std::size_t message_bytes_max = 4096;

Read read(std::string_view bytes, std::size_t piece) {
  MessageReader reader(message_bytes_max);
  Read result{{}, MessageReader::Fault::none};
  const auto on_message = [&](std::string_view message) {
    fuzz::expect(message.size() <= message_bytes_max, "a message is within its limit");
    result.first.emplace_back(message);
    return true;
  };
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    result.second = reader.read(bytes.substr(0, piece), on_message);
  }
  return result;
}

void check(const Command& command) {
  if (const auto* bad = std::get_if<BadCommand>(&command)) {
    const bool plain = std::none_of(bad->text.begin(), bad->text.end(),
                                    [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
    fuzz::expect(plain && wire::is_utf8(bad->text), "an error is one line that a terminal can show");
    fuzz::expect(!bad->code.empty() && bad->code.find(' ') == std::string::npos, "a code is one word");
  } else if (const auto* subscribe = std::get_if<Subscribe>(&command)) {
    fuzz::expect(
        subscribe->every.count() == 0 || (subscribe->every >= every_min && subscribe->every <= every_max),
        "every has its limits");
    const auto* ago = std::get_if<std::chrono::nanoseconds>(&subscribe->since);
    fuzz::expect(ago == nullptr || (ago->count() > 0 && *ago <= since_max), "since has its limits");
  } else if (const auto* publish = std::get_if<Publish>(&command)) {
    fuzz::expect(check_topic(publish->topic) == TopicFault::none && !is_system_topic(publish->topic),
                 "only what may be published is");
    fuzz::expect(wire::is_utf8(publish->text), "text is UTF-8");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = [] {
    route_protobuf_log();
    return true;
  }();
  if (!quiet || size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  const Read whole = read(bytes, std::max<std::size_t>(bytes.size(), 1));
  fuzz::expect(whole == read(bytes, data[0] % 16u + 1u), "messages are the same however the bytes come");
  for (const std::string& message : whole.first) check(proto::parse_message(message));
  check(proto::parse_message(bytes));
  return 0;
}
