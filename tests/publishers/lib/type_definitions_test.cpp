#include "publishers/lib/type_definitions.hpp"

#include <gmock/gmock.h>
#include <google/protobuf/api.pb.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "backplane/events/v1/quote.pb.h"

namespace backplane::publishing {
namespace {

namespace pb = google::protobuf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::size_t plenty = 128u << 10;

std::vector<std::string> names(const TypeDefinitions::Slice& slice) {
  std::vector<std::string> names;
  for (const std::string& bytes : slice.files) {
    pb::FileDescriptorProto file;
    EXPECT_TRUE(file.ParseFromString(bytes));
    names.push_back(file.name());
  }
  return names;
}

pb::FileDescriptorProto file_with(const std::string& name, const std::string& message,
                                  const std::vector<std::string>& imports) {
  pb::FileDescriptorProto file;
  file.set_name(name);
  file.set_syntax("proto3");
  file.set_package("t");
  file.add_message_type()->set_name(message);
  for (const std::string& import : imports) file.add_dependency(import);
  return file;
}

TEST(TypeDefinitions, TypesThatEveryReaderHasAreIgnored) {
  TypeDefinitions types;
  types.add(*events::v1::Quote::descriptor());
  types.add(*pb::Timestamp::descriptor());
  EXPECT_EQ(types.file_count(), 0U);
}

TEST(TypeDefinitions, EachFileIsListedOnceAfterItsImports) {
  pb::DescriptorPool pool;
  ASSERT_NE(pool.BuildFile(file_with("c.proto", "C", {})), nullptr);
  ASSERT_NE(pool.BuildFile(file_with("b.proto", "B", {"c.proto"})), nullptr);
  const auto* file = pool.BuildFile(file_with("a.proto", "A", {"b.proto", "c.proto"}));
  ASSERT_NE(file, nullptr);
  TypeDefinitions types;
  types.add(*file->message_type(0));
  types.add(*file->message_type(0));
  types.add(*pool.FindMessageTypeByName("t.B"));
  EXPECT_THAT(names(types.files_from(0, plenty, 512)), ElementsAre("c.proto", "b.proto", "a.proto"));
}

TEST(TypeDefinitions, GooglesTypesThatABrokerLacksAreIncluded) {
  TypeDefinitions types;
  types.add(*pb::Api::descriptor());
  EXPECT_THAT(names(types.files_from(0, plenty, 512)),
              ElementsAre("google/protobuf/source_context.proto", "google/protobuf/type.proto",
                          "google/protobuf/api.proto"));
}

TEST(TypeDefinitions, SlicesKeepTheirLimitsButHaveAtLeastOneFile) {
  pb::DescriptorPool pool;
  TypeDefinitions types;
  for (const char* name : {"a", "b", "c"}) {
    const auto* file = pool.BuildFile(file_with(std::string(name) + ".proto", name, {}));
    ASSERT_NE(file, nullptr);
    types.add(*file->message_type(0));
  }
  EXPECT_THAT(names(types.files_from(0, plenty, 2)), ElementsAre("a.proto", "b.proto"));
  EXPECT_THAT(names(types.files_from(2, plenty, 2)), ElementsAre("c.proto"));
  const TypeDefinitions::Slice one = types.files_from(1, 1, 512);
  EXPECT_THAT(names(one), ElementsAre("b.proto"));
  EXPECT_EQ(one.end, 2U);
  EXPECT_THAT(names(types.files_from(3, plenty, 512)), IsEmpty());
}

TEST(TypeDefinitions, TypesAboveTheLimitAreLeftOutAndReported) {
  pb::DescriptorPool pool;
  TypeDefinitions types;
  auto large = file_with("large.proto", "Large", {});
  large.add_enum_type()->set_name(std::string(TypeDefinitions::bytes_max, 'x'));
  auto& value = *large.mutable_enum_type(0)->add_value();
  value.set_name("NONE");
  value.set_number(0);
  const auto* file = pool.BuildFile(large);
  ASSERT_NE(file, nullptr);
  types.add(*file->message_type(0));
  EXPECT_EQ(types.problem(), "");
  const auto* more = pool.BuildFile(file_with("more.proto", "More", {}));
  ASSERT_NE(more, nullptr);
  types.add(*more->message_type(0));
  EXPECT_EQ(types.file_count(), 1U);
  EXPECT_THAT(types.problem(), HasSubstr("no more are registered"));
}

}  // namespace
}  // namespace backplane::publishing
