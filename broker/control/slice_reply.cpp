#include "broker/control/slice_reply.hpp"

#include <google/protobuf/io/coded_stream.h>

#include "backplane/v1/control.pb.h"

namespace backplane::broker {
namespace {

using google::protobuf::io::CodedOutputStream;

constexpr std::uint8_t delimited = 2;
constexpr std::uint8_t fixed64 = 1;
constexpr std::uint8_t tag(int field, std::uint8_t wire_type) {
  return static_cast<std::uint8_t>(field << 3 | wire_type);
}
// All tags here have one byte.
constexpr std::uint8_t retained_tag = tag(v1::ControlReply::kRetainedFieldNumber, delimited);
constexpr std::uint8_t replay_tag = tag(v1::ControlReply::kReplayFieldNumber, delimited);
constexpr std::uint8_t event_tag = tag(v1::ReplayReply::kEventsFieldNumber, delimited);
static_assert(event_tag == tag(v1::RetainedReply::kEventsFieldNumber, delimited));
constexpr std::uint8_t number_tag = tag(v1::ReplayReply::kThroughPositionFieldNumber, fixed64);
static_assert(number_tag == tag(v1::RetainedReply::kValidNsFieldNumber, fixed64));
static_assert(static_cast<int>(v1::ReplayReply::kDestroyedFieldNumber) ==
              static_cast<int>(v1::RetainedReply::kDestroyedFieldNumber));
constexpr std::uint8_t topic_tag = tag(v1::StoredEvent::kTopicFieldNumber, delimited);
constexpr std::uint8_t bytes_tag = tag(v1::StoredEvent::kEventFieldNumber, delimited);

std::uint32_t size_of(const auto& bytes) {
  return static_cast<std::uint32_t>(bytes.size());
}

std::uint32_t framed(std::uint32_t size) {
  return 1 + static_cast<std::uint32_t>(CodedOutputStream::VarintSize32(size)) + size;
}

std::uint32_t event_size(const StoredEvent& event) {
  return framed(size_of(event.topic)) + framed(size_of(event.event));
}

std::uint8_t* put_head(std::uint8_t field_tag, std::uint32_t size, std::uint8_t* at) {
  *at++ = field_tag;
  return CodedOutputStream::WriteVarint32ToArray(size, at);
}

std::uint8_t* put_bytes(std::uint8_t field_tag, const auto& bytes, std::uint8_t* at) {
  at = put_head(field_tag, size_of(bytes), at);
  return CodedOutputStream::WriteRawToArray(bytes.data(), static_cast<int>(bytes.size()), at);
}

// Rare, and therefore built as an object.
std::string encode(std::span<const DestroyedEvents> destroyed, std::uint64_t stream) {
  if (destroyed.empty() && stream == 0) return {};
  v1::ReplayReply reply;
  reply.set_stream(stream);
  for (const DestroyedEvents& each : destroyed) {
    v1::DestroyedEvents& out = *reply.add_destroyed();
    out.set_topic(each.topic);
    out.set_first_offset(each.first);
    out.set_last_offset(each.last);
    out.set_position(each.position);
    out.set_upstream(each.upstream);
  }
  return reply.SerializeAsString();
}

// `number` is the field after the events.
std::string make(std::string_view head, std::uint8_t reply_tag, std::span<const StoredEvent> events,
                 std::uint64_t number, std::span<const DestroyedEvents> destroyed, std::uint64_t stream = 0) {
  const std::string rest = encode(destroyed, stream);
  std::uint32_t size = 1 + sizeof number + size_of(rest);
  for (const StoredEvent& event : events) size += framed(event_size(event));

  std::string reply(head.size() + framed(size), '\0');
  head.copy(reply.data(), head.size());
  auto* at = reinterpret_cast<std::uint8_t*>(reply.data()) + head.size();
  at = put_head(reply_tag, size, at);
  for (const StoredEvent& event : events) {
    at = put_head(event_tag, event_size(event), at);
    at = put_bytes(topic_tag, event.topic, at);
    at = put_bytes(bytes_tag, event.event, at);
  }
  *at++ = number_tag;
  at = CodedOutputStream::WriteLittleEndian64ToArray(number, at);
  at = CodedOutputStream::WriteRawToArray(rest.data(), static_cast<int>(rest.size()), at);
  CHECK(at == reinterpret_cast<std::uint8_t*>(reply.data() + reply.size()), "a reply has the size counted");
  return reply;
}

}  // namespace

std::string retained_reply(std::string_view head, std::span<const StoredEvent> events, std::uint64_t valid_ns,
                           std::span<const DestroyedEvents> destroyed) {
  return make(head, retained_tag, events, valid_ns, destroyed);
}

std::string replay_reply(std::string_view head, std::span<const StoredEvent> events,
                         std::uint64_t through_position, std::span<const DestroyedEvents> destroyed,
                         std::uint64_t stream) {
  return make(head, replay_tag, events, through_position, destroyed, stream);
}

}  // namespace backplane::broker
