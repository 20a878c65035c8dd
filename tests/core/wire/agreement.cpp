#include "tests/core/wire/agreement.hpp"

#include <optional>
#include <utility>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "backplane/v1/event.pb.h"
#include "core/wire/scan.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::wire {
namespace {

Payload payload_of(const v1::Event& event) {
  switch (event.payload_case()) {
    case v1::Event::kMessage:
      return Payload::message;
    case v1::Event::kText:
      return Payload::text;
    case v1::Event::kBinary:
      return Payload::binary;
    case v1::Event::PAYLOAD_NOT_SET:
      return Payload::none;
  }
  return Payload::none;
}

std::string difference(const EventView& view, const v1::Event& event) {
  if (view.source != event.source()) return "source";
  if (view.session != event.session()) return "session";
  if (view.sequence != event.sequence()) return "sequence";
  if (view.after_sequence != event.after_sequence()) return "after_sequence";
  if (view.lost != event.lost()) return "lost";
  if (view.has_time != event.has_time()) return "has_time";
  if (view.time_seconds != event.time().seconds()) return "time.seconds";
  if (view.time_nanos != event.time().nanos()) return "time.nanos";
  if (view.payload != payload_of(event)) return "payload";
  if (view.type_url != event.message().type_url()) return "message.type_url";
  if (view.message != event.message().value()) return "message.value";
  if (view.payload == Payload::text && view.body != event.text()) return "text";
  if (view.payload == Payload::binary && view.body != event.binary()) return "binary";
  if (view.payload == Payload::none && !view.body.empty()) return "body";
  return {};
}

// The same bytes for the same event: maps are written in key order.
std::string canonical(const v1::Event& event) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  event.SerializeToCodedStream(&coded);
  coded.Trim();
  return out;
}

// The broker must send what it received, with the stamp and nothing else.
std::string difference_when_stamped(std::string bytes, v1::Event event) {
  const Stamp stamp{.stream = 1, .position = 2, .offset = 3, .previous = 0, .received_ns = 5};
  bytes.resize(bytes.size() + stamp_bytes);
  write_stamp(stamp, std::as_writable_bytes(std::span(bytes)).last<stamp_bytes>());
  v1::Event stamped;
  if (!stamped.ParseFromString(bytes)) return "protobuf refuses it with a stamp";
  if (read_stamp(std::as_bytes(std::span(bytes))) != stamp) return "the stamp is not read back";
  event.mutable_stamp()->set_stream(stamp.stream);
  event.mutable_stamp()->set_position(stamp.position);
  event.mutable_stamp()->set_offset(stamp.offset);
  event.mutable_stamp()->set_received_ns(stamp.received_ns);
  return canonical(event) == canonical(stamped) ? "" : "the event is another with a stamp";
}

}  // namespace

std::string disagreement(std::span<const std::byte> event) {
  const ScanResult result = scan_event(event);
  if (result.fault != EventFault::none) {
    return result.fault_at < event.size() ? "" : "the fault stands behind the end";
  }
  std::string bytes(reinterpret_cast<const char*>(event.data()), event.size());
  v1::Event parsed;
  if (!parsed.ParseFromString(bytes)) return "protobuf refuses it";
  if (std::string differs = difference(result.event, parsed); !differs.empty()) return differs;
  return difference_when_stamped(std::move(bytes), std::move(parsed));
}

}  // namespace backplane::wire
