#include "core/payload/type_registry.hpp"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <gtest/gtest.h>

#include "backplane/events/v1/clock_tick.pb.h"
#include "backplane/v1/event.pb.h"

namespace backplane {
namespace {

using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using Refusal = TypeRegistry::Refusal;
using testing::ElementsAre;
using testing::HasSubstr;

/// A file with one message with one field of that type.
FileDescriptorProto file(const std::string& name, const std::string& message,
                         const std::vector<std::string>& imports = {}, const std::string& field_type = "") {
  FileDescriptorProto made;
  made.set_name(name);
  made.set_package("shop.v1");
  made.set_syntax("proto3");
  for (const auto& import : imports) made.add_dependency(import);
  auto& type = *made.add_message_type();
  type.set_name(message);
  auto& field = *type.add_field();
  field.set_name("first_field");
  field.set_number(1);
  field.set_label(FieldDescriptorProto::LABEL_OPTIONAL);
  if (field_type.empty()) {
    field.set_type(FieldDescriptorProto::TYPE_STRING);
  } else {
    field.set_type(FieldDescriptorProto::TYPE_MESSAGE);
    field.set_type_name(field_type);
  }
  return made;
}

FileDescriptorSet set_of(const std::vector<FileDescriptorProto>& files) {
  FileDescriptorSet set;
  for (const auto& each : files) *set.add_file() = each;
  return set;
}

std::vector<std::string> names_of(const TypeRegistry::Page& page) {
  std::vector<std::string> names;
  for (const auto* each : page.files) names.push_back(each->name());
  return names;
}

std::vector<std::string> find(const TypeRegistry& registry, const std::vector<std::string>& names) {
  return names_of(registry.find(names, 0, 1u << 20));
}

class Types : public testing::Test {
 protected:
  TypeRegistry::Registered add(const std::vector<FileDescriptorProto>& files) {
    return types_.add(set_of(files));
  }
  TypeRegistry types_;
};

TEST_F(Types, ReturnsTheFileThatDefinesATypeAfterItsImports) {
  const auto added = add({file("order.proto", "Order", {"item.proto"}, ".shop.v1.Item"),
                          file("item.proto", "Item"), file("other.proto", "Other")});
  ASSERT_EQ(added.refusal, Refusal::none) << added.text;
  EXPECT_THAT(find(types_, {"shop.v1.Order"}), ElementsAre("item.proto", "order.proto"));
  EXPECT_THAT(find(types_, {"shop.v1.Item"}), ElementsAre("item.proto"));
}

TEST_F(Types, ReturnsEverythingWithoutNames) {
  ASSERT_EQ(add({file("b.proto", "B", {"a.proto"}, ".shop.v1.A"), file("a.proto", "A")}).refusal,
            Refusal::none);
  EXPECT_THAT(find(types_, {}), ElementsAre("a.proto", "b.proto"));
}

TEST_F(Types, AReaderCanBuildTheReturnedFiles) {
  FileDescriptorSet set;
  const auto* event = v1::Event::descriptor()->file();
  const auto* tick = events::v1::ClockTick::descriptor()->file();
  event->CopyTo(set.add_file());
  tick->CopyTo(set.add_file());
  const auto added = types_.add(set);  // without the well-known types that they import
  ASSERT_EQ(added.refusal, Refusal::none) << added.text;
  google::protobuf::DescriptorPool pool;
  const std::vector<std::string> names{"type.googleapis.com/backplane.v1.Event"};
  for (const auto* each : types_.find(names, 0, 1u << 20).files) ASSERT_NE(pool.BuildFile(*each), nullptr);
  EXPECT_NE(pool.FindMessageTypeByName("backplane.v1.Event"), nullptr);
}

TEST_F(Types, ListsNamesThatAreNotRegistered) {
  ASSERT_EQ(add({file("a.proto", "A")}).refusal, Refusal::none);
  const std::vector<std::string> names{"shop.v1.A", "shop.v1.Missing", "shop.v1", "", "/"};
  const auto page = types_.find(names, 0, 1u << 20);
  EXPECT_THAT(names_of(page), ElementsAre("a.proto"));
  EXPECT_THAT(page.unknown, ElementsAre("shop.v1.Missing", "shop.v1", "", "/"));
}

TEST_F(Types, KnowsWhetherARegistrationWouldChangeAnything) {
  const auto order = file("order.proto", "Order");
  EXPECT_FALSE(types_.has(set_of({order})));
  ASSERT_EQ(add({order}).refusal, Refusal::none);
  EXPECT_TRUE(types_.has(set_of({order})));
  EXPECT_TRUE(types_.has(set_of({order, order})));
  EXPECT_FALSE(types_.has(set_of({order, file("item.proto", "Item")})));
  EXPECT_FALSE(types_.has(set_of({file("order.proto", "Other")})));
  EXPECT_EQ(types_.files(), 1u);
}

TEST_F(Types, TheSameFileCanBeRegisteredAgain) {
  ASSERT_EQ(add({file("a.proto", "A")}).refusal, Refusal::none);
  const std::size_t bytes = types_.bytes();
  EXPECT_EQ(add({file("a.proto", "A")}).refusal, Refusal::none);
  EXPECT_EQ(types_.files(), 1u);
  EXPECT_EQ(types_.bytes(), bytes);
}

TEST_F(Types, WhatACompilerAddsMakesNoDifference) {
  ASSERT_EQ(add({file("a.proto", "A")}).refusal, Refusal::none);
  auto with_json = file("a.proto", "A");
  with_json.mutable_message_type(0)->mutable_field(0)->set_json_name("firstField");
  with_json.mutable_source_code_info()->add_location()->set_leading_comments("hello");
  EXPECT_EQ(add({with_json}).refusal, Refusal::none);
  with_json.mutable_message_type(0)->mutable_field(0)->set_json_name("first");
  EXPECT_EQ(add({with_json}).refusal, Refusal::conflict);
}

TEST_F(Types, OptionsForCodeGeneratorsMakeNoDifference) {
  ASSERT_EQ(add({file("a.proto", "A")}).refusal, Refusal::none);
  auto with_options = file("a.proto", "A");
  with_options.mutable_options()->set_go_package("example.com/shop/v1;shopv1");
  with_options.mutable_options()->set_java_multiple_files(true);
  with_options.mutable_options()->set_csharp_namespace("Shop.V1");
  with_options.mutable_options()->set_optimize_for(google::protobuf::FileOptions::LITE_RUNTIME);
  EXPECT_EQ(add({with_options}).refusal, Refusal::none);
  EXPECT_EQ(types_.files(), 1u);
}

TEST_F(Types, RefusesAnotherFileOfTheSameName) {
  ASSERT_EQ(add({file("a.proto", "A")}).refusal, Refusal::none);
  const auto refused = add({file("a.proto", "B")});
  EXPECT_EQ(refused.refusal, Refusal::conflict);
  EXPECT_THAT(refused.text, HasSubstr("\"a.proto\" is already registered with different content"));
  EXPECT_EQ(add({file("x.proto", "X"), file("x.proto", "Y")}).refusal, Refusal::conflict);
}

TEST_F(Types, RefusesATypeThatAnotherFileDefines) {
  ASSERT_EQ(add({file("a.proto", "A")}).refusal, Refusal::none);
  const auto refused = add({file("b.proto", "A")});
  EXPECT_EQ(refused.refusal, Refusal::conflict);
  EXPECT_THAT(refused.text, HasSubstr("\"shop.v1.A\" is already defined by \"a.proto\""));
}

TEST_F(Types, RefusesAPackageThatIsATypeAndATypeThatIsAPackage) {
  ASSERT_EQ(add({file("a.proto", "A")}).refusal, Refusal::none);
  auto inside = file("b.proto", "B");
  inside.set_package("shop.v1.A.deeper");
  EXPECT_EQ(add({file("good.proto", "Good"), inside}).refusal, Refusal::conflict);
  auto above = file("c.proto", "v1");
  above.set_package("shop");
  EXPECT_EQ(add({above}).refusal, Refusal::conflict);
  EXPECT_EQ(types_.files(), 1u);
}

TEST_F(Types, RefusesEnumValuesThatClashAcrossFiles) {
  const auto with_enum = [](const std::string& name, const std::string& type) {
    FileDescriptorProto made;
    made.set_name(name);
    made.set_package("shop.v1");
    auto& enumeration = *made.add_enum_type();
    enumeration.set_name(type);
    auto& value = *enumeration.add_value();
    value.set_name("UNKNOWN");
    value.set_number(0);
    return made;
  };
  ASSERT_EQ(add({with_enum("a.proto", "A")}).refusal, Refusal::none);
  EXPECT_EQ(add({file("good.proto", "Good"), with_enum("b.proto", "B")}).refusal, Refusal::conflict);
  EXPECT_EQ(types_.files(), 1u);
  EXPECT_THAT(find(types_, {"shop.v1.A"}), ElementsAre("a.proto"));
}

TEST_F(Types, ReportsWhatIsInvalid) {
  const auto undefined = add({file("a.proto", "A", {}, ".shop.v1.Nowhere")});
  EXPECT_EQ(undefined.refusal, Refusal::bad_types);
  EXPECT_THAT(undefined.text, HasSubstr("a.proto"));
  EXPECT_THAT(undefined.text, HasSubstr("Nowhere"));
  const auto missing = add({file("a.proto", "A", {"nowhere.proto"})});
  EXPECT_EQ(missing.refusal, Refusal::bad_types);
  EXPECT_THAT(missing.text, HasSubstr("nowhere.proto"));
  EXPECT_THAT(add({file("", "A")}).text, HasSubstr("no name"));
}

TEST_F(Types, RefusesStringsThatAreNotUtf8) {
  const auto bad_name = add({file("\xff.proto", "A")});
  EXPECT_EQ(bad_name.refusal, Refusal::bad_types);
  EXPECT_THAT(bad_name.text, HasSubstr("\"\\xFF.proto\": bytes that are not UTF-8"));
  auto bad_json = file("a.proto", "A");
  bad_json.mutable_message_type(0)->mutable_field(0)->set_json_name("\xff");
  EXPECT_EQ(add({bad_json}).refusal, Refusal::bad_types);
  auto bad_import = file("a.proto", "A", {"\xff.proto"});
  EXPECT_EQ(add({bad_import}).refusal, Refusal::bad_types);
}

TEST_F(Types, RefusesFilesThatImportEachOther) {
  const auto refused = add({file("a.proto", "A", {"b.proto"}), file("b.proto", "B", {"a.proto"})});
  EXPECT_EQ(refused.refusal, Refusal::bad_types);
  EXPECT_THAT(refused.text, HasSubstr("imports itself"));
  EXPECT_EQ(add({file("c.proto", "C", {"c.proto"})}).refusal, Refusal::bad_types);
}

TEST_F(Types, RegistersAllFilesOfASetOrNone) {
  EXPECT_EQ(add({file("good.proto", "Good"), file("bad.proto", "Bad", {}, ".Nowhere")}).refusal,
            Refusal::bad_types);
  EXPECT_EQ(types_.files(), 0u);
  EXPECT_THAT(find(types_, {"shop.v1.Good"}), ElementsAre());
  EXPECT_EQ(add({file("good.proto", "Good")}).refusal, Refusal::none);
}

TEST_F(Types, OtherVersionsOfGooglesOwnFilesAreIgnored) {
  FileDescriptorProto other;
  google::protobuf::Timestamp::descriptor()->file()->CopyTo(&other);
  other.mutable_options()->set_go_package("elsewhere");
  const auto added =
      add({other, file("a.proto", "A", {"google/protobuf/timestamp.proto"}, ".google.protobuf.Timestamp")});
  ASSERT_EQ(added.refusal, Refusal::none) << added.text;
  EXPECT_EQ(types_.files(), 1u);
  EXPECT_THAT(find(types_, {"shop.v1.A"}), ElementsAre("google/protobuf/timestamp.proto", "a.proto"));
}

TEST_F(Types, ReturnsPagesThatFitAndMissNothing) {
  std::vector<FileDescriptorProto> files;
  for (int i = 0; i < 50; ++i) files.push_back(file(std::to_string(i) + ".proto", "M" + std::to_string(i)));
  ASSERT_EQ(add(files).refusal, Refusal::none);
  std::size_t after = 0;
  std::size_t seen = 0;
  do {
    const auto page = types_.find({}, after, 200);
    ASSERT_FALSE(page.files.empty());
    FileDescriptorSet reply;
    for (const auto* each : page.files) *reply.add_file() = *each;
    EXPECT_LE(reply.ByteSizeLong(), 200u);
    seen += page.files.size();
    after = page.next;
  } while (after != 0);
  EXPECT_EQ(seen, 50u);
}

TEST(TypeLimits, BoundsFilesAndBytes) {
  TypeRegistry types({.files_max = 2});
  EXPECT_EQ(types.add(set_of({file("a.proto", "A"), file("b.proto", "B")})).refusal, Refusal::none);
  const auto refused = types.add(set_of({file("c.proto", "C")}));
  EXPECT_EQ(refused.refusal, Refusal::too_large);
  EXPECT_THAT(refused.text, HasSubstr("limits of 2 files"));
  TypeRegistry small({.bytes_max = 60});
  EXPECT_EQ(small.add(set_of({file("a.proto", "A")})).refusal, Refusal::none);
  EXPECT_EQ(small.add(set_of({file("b.proto", "B")})).refusal, Refusal::too_large);
}

TEST(TypeLimits, RefusesASetOrAFileThatIsTooLarge) {
  TypeRegistry types({.set_files_max = 1, .set_bytes_max = 1000, .file_bytes_max = 500});
  EXPECT_EQ(types.add(set_of({file("a.proto", "A"), file("b.proto", "B")})).refusal, Refusal::too_large);
  EXPECT_EQ(types.add(set_of({file("a.proto", std::string(400, 'A'))})).refusal, Refusal::none);
  EXPECT_EQ(types.add(set_of({file("b.proto", std::string(500, 'A'))})).refusal, Refusal::too_large);
  EXPECT_EQ(types.add(set_of({file(std::string(990, 'b'), "B")})).refusal, Refusal::too_large);
}

TEST(TypeLimits, RefusesNamesThatMultiplyBeforeTheyAreBuilt) {
  TypeRegistry types;
  auto deep = file("a.proto", "A");
  std::string package = "p";
  while (package.size() < 100'000) package += ".p";
  deep.set_package(package);
  const auto refused = types.add(set_of({deep}));
  EXPECT_EQ(refused.refusal, Refusal::bad_types);
  EXPECT_THAT(refused.text, HasSubstr("package"));

  auto wide = file("b.proto", "B");
  wide.set_package(std::string(500, 'p'));
  for (int i = 0; i < 10'000; ++i) wide.add_message_type()->set_name("M" + std::to_string(i));
  EXPECT_EQ(types.add(set_of({wide})).refusal, Refusal::too_large);
}

}  // namespace
}  // namespace backplane
