#include "cli/input/json_messages.hpp"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>

#include "backplane/events/v1/quote.pb.h"

namespace backplane::cli {
namespace {

using testing::HasSubstr;

/// One file with one message: acme.Reading {string sensor = 1;}
std::string acme_types() {
  google::protobuf::FileDescriptorSet set;
  auto& file = *set.add_file();
  file.set_name("acme/reading.proto");
  file.set_package("acme");
  file.set_syntax("proto3");
  auto& message = *file.add_message_type();
  message.set_name("Reading");
  auto& field = *message.add_field();
  field.set_name("sensor");
  field.set_number(1);
  field.set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
  field.set_type(google::protobuf::FieldDescriptorProto::TYPE_STRING);
  return set.SerializeAsString();
}

TEST(JsonMessages, ABuiltInTypeIsFoundByItsShortName) {
  JsonMessages types;
  EXPECT_EQ(types.find("Quote"), "backplane.events.v1.Quote");
  EXPECT_EQ(types.find("backplane.events.v1.Quote"), "backplane.events.v1.Quote");
  EXPECT_EQ(types.find("acme.Reading"), "");
}

TEST(JsonMessages, JsonBecomesTheMessage) {
  JsonMessages types;
  const auto message = types.make(types.find("Quote"), R"({"symbol":"MSFT","price":39.81})");
  ASSERT_TRUE(message.has_value());
  events::v1::Quote quote;
  ASSERT_TRUE(quote.ParseFromString((*message)->SerializeAsString()));
  EXPECT_EQ(quote.symbol(), "MSFT");
  EXPECT_DOUBLE_EQ(quote.price(), 39.81);
}

TEST(JsonMessages, ATypeThatWasAddedCanBeMade) {
  JsonMessages types;
  ASSERT_TRUE(types.add_types(acme_types()).has_value());
  ASSERT_TRUE(types.add_types(acme_types()).has_value()) << "the same types again";
  ASSERT_EQ(types.find("acme.Reading"), "acme.Reading");
  const auto message = types.make("acme.Reading", R"({"sensor":"roof"})");
  ASSERT_TRUE(message.has_value()) << message.error().text;
  EXPECT_EQ((*message)->SerializeAsString(), "\x0a\x04roof");
}

TEST(JsonMessages, JsonThatDoesNotFitTheTypeIsAnError) {
  JsonMessages types;
  const auto unknown = types.make("backplane.events.v1.Quote", R"({"volume":1})");
  EXPECT_THAT(unknown.error().text, HasSubstr("--json: expected a backplane.events.v1.Quote as JSON: "));
  EXPECT_THAT(unknown.error().text, HasSubstr("volume"));
  EXPECT_FALSE(types.make("backplane.events.v1.Quote", "not json").has_value());
  EXPECT_FALSE(types.make("backplane.events.v1.Quote", "").has_value());
}

TEST(JsonMessages, InvalidTypesAreAnError) {
  JsonMessages types;
  EXPECT_FALSE(types.add_types("\xff\xff").has_value());
  google::protobuf::FileDescriptorSet set;
  set.ParseFromString(acme_types());
  set.mutable_file(0)->mutable_message_type(0)->mutable_field(0)->set_type_name("no.such.Type");
  set.mutable_file(0)->mutable_message_type(0)->mutable_field(0)->set_type(
      google::protobuf::FieldDescriptorProto::TYPE_MESSAGE);
  EXPECT_FALSE(types.add_types(set.SerializeAsString()).has_value());
}

}  // namespace
}  // namespace backplane::cli
