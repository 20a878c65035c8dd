// Any bytes as an event: what the scan accepts, protobuf accepts and reads the same; nothing crashes.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/wire/scan.hpp"
#include "core/wire/stamp.hpp"
#include "tests/core/wire/agreement.hpp"
#include "tests/fuzz/expect.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backplane;
  const std::span<const std::byte> event = std::as_bytes(std::span(data, size));

  const std::string differs = wire::disagreement(event);
  fuzz::expect(differs.empty(), "scan and protobuf read the same: " + differs);

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
