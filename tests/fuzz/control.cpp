// Any bytes as control requests, one behind the other: each is preceded by its length in two bytes, the last
// takes what is left.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "backplane/v1/control.pb.h"
#include "broker/control/service.hpp"
#include "broker/log/commit_log.hpp"
#include "broker/state/memory_history.hpp"
#include "broker/state/participants.hpp"
#include "core/payload/type_registry.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/stamp.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;
using namespace backplane::broker;

/// Looks at every reply as it comes.
class Checker final : public ReplySink {
 public:
  void reply(const Envelope& envelope, std::string_view bytes) override {
    ++replies;
    fuzz::expect(envelope == Envelope{"asker"}, "the envelope is echoed");
    v1::ControlReply reply;
    fuzz::expect(reply.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())),
                 "a reply is a ControlReply");
    fuzz::expect(reply.version() == 1, "version 1 is spoken");
    fuzz::expect(reply.end_case() != v1::ControlReply::END_NOT_SET, "a reply has an end");
    fuzz::expect(!reply.has_more() || !reply.more().cursor().empty(), "more comes with a cursor");
    fuzz::expect(!reply.has_error() || !reply.error().text().empty(), "an error has a line");
    fuzz::expect(bytes.size() <= reply_bytes_max, "a reply has its bound");
  }
  std::size_t replies{};
};

/// A small backplane, new for every input.
struct Backplane {
  Backplane()
      : state("default", 1000, 10, std::make_unique<MemoryHistory>(HistoryLimits{})),
        participants([](const std::string& topic, const v1::SourceStatus&) {
          fuzz::expect(check_topic(topic) == TopicFault::none, "a source's topic is one");
        }),
        service(state, access, participants, types, log, checker, [] {}) {
    state.stream = 0x0102030405060708;
    for (const std::string_view topic : {"a", "b.c", "a", "$SYS.source.x", "b.d"}) publish(topic);
    bool is_new = false;
    state.sessions.use("clock", 1, is_new).sequence = 5;
  }

  void publish(std::string_view topic) {
    TopicEntry* entry = state.topics.find_or_add(topic);
    const wire::Stamp stamp{state.stream, ++state.position, ++entry->offset, entry->position, 1};
    std::array<std::byte, wire::stamp_bytes> event;
    wire::write_stamp(stamp, event);
    entry->position = stamp.position;
    state.topics.touched(*entry);
    const HistoryAppend append{topic, event, stamp, false};
    fuzz::expect(state.history->append({&append, 1}).result == HistoryStore::Accepted::accepted, "appended");
  }

  BackplaneState state;
  Access access;
  Participants participants;
  TypeRegistry types;
  LocalLog log;
  Checker checker;
  ControlService service;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Backplane backplane;
  auto now = ControlService::Clock::time_point{} + std::chrono::hours{1};
  std::span<const std::byte> input{reinterpret_cast<const std::byte*>(data), size};
  for (std::size_t asked = 1; asked <= 64; ++asked) {
    std::size_t length = input.size();
    if (input.size() >= 2) {
      length = std::to_integer<std::size_t>(input[0]) | std::to_integer<std::size_t>(input[1]) << 8;
      input = input.subspan(2);
      length = std::min(length, input.size());
    }
    backplane.service.request({"asker"}, input.first(length), now);
    fuzz::expect(backplane.checker.replies == asked, "a request gets one reply");
    input = input.subspan(length);
    now += std::chrono::seconds{1};
    backplane.participants.expire(now);
    if (input.empty()) break;
  }
  return 0;
}
