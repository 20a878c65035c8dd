#include "core/payload/message_cost.hpp"

#include <cstdint>
#include <limits>
#include <string>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

namespace backplane {
namespace {

namespace pb = google::protobuf;
using Wire = pb::internal::WireFormatLite;

constexpr int depth_max = 100;  // protobuf's parsers accept no more

const pb::FieldDescriptor* find_field(const pb::Descriptor& type, int number) {
  if (const auto* field = type.FindFieldByNumber(number)) return field;
  if (type.FindExtensionRangeContainingNumber(number) == nullptr) return nullptr;
  return type.file()->pool()->FindExtensionByNumber(&type, number);
}

bool is_any(const pb::Descriptor& type) {
  return type.full_name() == "google.protobuf.Any";
}

std::size_t weight_of(const pb::Descriptor& type) {
  constexpr std::size_t object_bytes = 64;
  constexpr std::size_t field_bytes = 24;  // in the object; the size of a repeated field, the largest
  constexpr std::size_t json_bytes = 12;   // `"":"",` and similar, beside the name
  std::size_t weight = object_bytes;
  for (int i = 0; i < type.field_count(); ++i) {
    weight += field_bytes + json_bytes + type.field(i)->name().size();
  }
  return weight;
}

}  // namespace

bool MessageCost::within(const pb::Descriptor& type, std::string_view bytes, std::size_t most) {
  left_ = most;
  return serialised(type, bytes, 0);
}

bool MessageCost::spend(const pb::Descriptor& type) {
  auto known = weights_.find(&type);
  if (known == weights_.end()) known = weights_.emplace(&type, weight_of(type)).first;
  if (known->second > left_) return false;
  left_ -= known->second;
  return true;
}

// NOLINTNEXTLINE(misc-no-recursion): at most depth_max deep, like the others here
bool MessageCost::serialised(const pb::Descriptor& type, std::string_view bytes, int depth) {
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return false;
  pb::io::CodedInputStream input(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                 static_cast<int>(bytes.size()));
  input.PushLimit(static_cast<int>(bytes.size()));  // so that it knows how many bytes there are
  if (is_any(type)) return spend(type) && any(input, depth);
  return message(type, input, 0, depth);
}

// NOLINTNEXTLINE(misc-no-recursion)
bool MessageCost::message(const pb::Descriptor& type, pb::io::CodedInputStream& input, int group, int depth) {
  if (depth > depth_max || !spend(type)) return false;
  while (const std::uint32_t tag = input.ReadTag()) {
    const int number = Wire::GetTagFieldNumber(tag);
    const Wire::WireType wire_type = Wire::GetTagWireType(tag);
    if (wire_type == Wire::WIRETYPE_END_GROUP) return number == group;
    const bool nests =
        wire_type == Wire::WIRETYPE_LENGTH_DELIMITED || wire_type == Wire::WIRETYPE_START_GROUP;
    const pb::FieldDescriptor* const field = nests ? find_field(type, number) : nullptr;
    const auto expected = wire_type == Wire::WIRETYPE_START_GROUP ? pb::FieldDescriptor::TYPE_GROUP
                                                                  : pb::FieldDescriptor::TYPE_MESSAGE;
    if (field == nullptr || field->type() != expected) {
      if (!Wire::SkipField(&input, tag)) return false;
    } else if (wire_type == Wire::WIRETYPE_START_GROUP) {
      if (!message(*field->message_type(), input, number, depth + 1)) return false;
    } else {
      std::uint32_t length = 0;
      if (!input.ReadVarint32(&length) || length > static_cast<std::uint32_t>(input.BytesUntilLimit())) {
        return false;
      }
      const auto limit = input.PushLimit(static_cast<int>(length));
      const pb::Descriptor& inner = *field->message_type();
      if (!(is_any(inner) ? spend(inner) && any(input, depth + 1) : message(inner, input, 0, depth + 1))) {
        return false;
      }
      input.PopLimit(limit);
    }
  }
  return group == 0 && input.ConsumedEntireMessage();
}

/// A printer interprets the bytes as the type that the Any names.
// NOLINTNEXTLINE(misc-no-recursion)
bool MessageCost::any(pb::io::CodedInputStream& input, int depth) {
  std::string url;
  std::string value;
  while (const std::uint32_t tag = input.ReadTag()) {
    const int number = Wire::GetTagFieldNumber(tag);
    std::uint32_t length = 0;
    if (number > 2 || Wire::GetTagWireType(tag) != Wire::WIRETYPE_LENGTH_DELIMITED) {
      if (!Wire::SkipField(&input, tag)) return false;
    } else if (!input.ReadVarint32(&length) || length > static_cast<std::uint32_t>(input.BytesUntilLimit()) ||
               !input.ReadString(number == 1 ? &url : &value, static_cast<int>(length))) {
      return false;
    }
  }
  if (!input.ConsumedEntireMessage()) return false;
  const pb::Descriptor* const type = find_type_(std::string_view(url).substr(url.rfind('/') + 1));
  return type == nullptr || serialised(*type, value, depth + 1);
}

}  // namespace backplane
