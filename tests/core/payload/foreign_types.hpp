#pragma once
// Types that are not built in, and messages of them.

#include <string>
#include <vector>

#include <google/protobuf/descriptor.pb.h>

namespace backplane::payload_test {

using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;

/// A file of the package acme without messages.
inline FileDescriptorProto file(const std::string& name) {
  FileDescriptorProto made;
  made.set_name(name);
  made.set_package("acme");
  made.set_syntax("proto3");
  return made;
}

/// Adds a field; `type_name` if it is a message.
inline FieldDescriptorProto& add_field(google::protobuf::DescriptorProto& message, const std::string& name,
                                       int number, FieldDescriptorProto::Type type,
                                       const std::string& type_name = "") {
  FieldDescriptorProto& field = *message.add_field();
  field.set_name(name);
  field.set_number(number);
  field.set_label(FieldDescriptorProto::LABEL_OPTIONAL);
  field.set_type(type);
  if (!type_name.empty()) field.set_type_name(type_name);
  return field;
}

/// acme.Order {string item_name = 1; int64 count = 2; Timestamp at = 3; repeated Order parts = 4; Any extra =
/// 5}
inline FileDescriptorProto order_file() {
  FileDescriptorProto made = file("acme/order.proto");
  made.add_dependency("google/protobuf/timestamp.proto");
  made.add_dependency("google/protobuf/any.proto");
  auto& order = *made.add_message_type();
  order.set_name("Order");
  add_field(order, "item_name", 1, FieldDescriptorProto::TYPE_STRING);
  add_field(order, "count", 2, FieldDescriptorProto::TYPE_INT64);
  add_field(order, "at", 3, FieldDescriptorProto::TYPE_MESSAGE, ".google.protobuf.Timestamp");
  add_field(order, "parts", 4, FieldDescriptorProto::TYPE_MESSAGE, ".acme.Order")
      .set_label(FieldDescriptorProto::LABEL_REPEATED);
  add_field(order, "extra", 5, FieldDescriptorProto::TYPE_MESSAGE, ".google.protobuf.Any");
  return made;
}

inline std::string set_of(const std::vector<FileDescriptorProto>& files) {
  FileDescriptorSet set;
  for (const FileDescriptorProto& each : files) *set.add_file() = each;
  return set.SerializeAsString();
}

inline std::string delimited(int number, const std::string& content) {
  std::string out{static_cast<char>(number << 3 | 2)};
  std::size_t length = content.size();
  for (; length > 0x7f; length >>= 7) out.push_back(static_cast<char>((length & 0x7f) | 0x80));
  out.push_back(static_cast<char>(length));
  return out + content;
}

inline std::string any(const std::string& type, const std::string& value) {
  return delimited(1, "type.googleapis.com/" + type) + delimited(2, value);
}

}  // namespace backplane::payload_test
