// Any bytes as an event, and as the payload of an event of the raw endpoint: what the scan accepts, protobuf
// accepts and reads the same; nothing crashes.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/ingress/raw_event.hpp"
#include "core/wire/scan.hpp"
#include "core/wire/stamp.hpp"
#include "tests/core/wire/agreement.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

void check_raw(std::span<const std::byte> payload) {
  using namespace backplane;
  std::vector<std::byte> event(broker::raw_event_bytes(payload.size()));
  broker::write_raw_event(payload, event);
  const wire::ScanResult result = wire::scan_event(event);
  fuzz::expect(result.fault == wire::EventFault::none && result.event.source == "raw",
               "every payload makes an event");
  const std::string_view bytes{reinterpret_cast<const char*>(payload.data()), payload.size()};
  fuzz::expect(
      result.event.body == bytes &&
          result.event.payload == (wire::is_utf8(bytes) ? wire::Payload::text : wire::Payload::binary),
      "an event has the payload that was sent");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backplane;
  const std::span<const std::byte> event = std::as_bytes(std::span(data, size));

  const std::string differs = wire::disagreement(event);
  fuzz::expect(differs.empty(), "scan and protobuf read the same: " + differs);

  check_raw(event);
  const wire::ScanResult result = wire::scan_event(event);
  const std::string said = wire::describe(result, size);
  fuzz::expect(wire::is_utf8(said) && said.find('\n') == std::string::npos, "describe gives one line");

  if (const auto stamp = wire::read_stamp(event)) {
    std::string again(wire::stamp_bytes, '\0');
    wire::write_stamp(*stamp, std::as_writable_bytes(std::span(again)).first<wire::stamp_bytes>());
    const std::string tail(reinterpret_cast<const char*>(data) + (size - again.size()), again.size());
    fuzz::expect(again == tail, "a stamp that is read is written the same");
    fuzz::expect(wire::without_stamp(event).size() + wire::stamp_bytes == size, "without_stamp is the rest");
  }
  return 0;
}
