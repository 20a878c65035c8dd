#include "core/payload/payload_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backplane/events/v1/quote.pb.h"
#include "core/wire/scan.hpp"
#include "tests/core/payload/foreign_types.hpp"

namespace backplane {
namespace {

using namespace payload_test;
using Refusal = TypeRegistry::Refusal;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr const char* order_defaults = R"({"item_name":"","count":"0","parts":[]})";

class ForeignPayloads : public testing::Test {
 protected:
  std::string json(const std::string& type, const std::string& value) {
    std::string out;
    payloads_.append("type.googleapis.com/" + type, value, out);
    return out;
  }
  void add(const std::vector<FileDescriptorProto>& files) {
    const auto added = payloads_.add_types(set_of(files));
    ASSERT_EQ(added.refusal, Refusal::none) << added.text;
  }
  PayloadJson payloads_;
};

TEST_F(ForeignPayloads, AreJsonOnceTheirTypeIsAdded) {
  EXPECT_EQ(json("acme.Order", ""), R"({"@type":"type.googleapis.com/acme.Order","value":""})");
  add({order_file()});
  EXPECT_EQ(json("acme.Order", ""), order_defaults);
  const std::string at = delimited(3, "\x08\x80\x87\xb5\xc3\x03");
  EXPECT_EQ(json("acme.Order", delimited(1, "cog \"2\"\n") + std::string("\x10\x07", 2) + at +
                                   delimited(4, delimited(1, "tooth"))),
            R"({"item_name":"cog \"2\"\n","count":"7",)"
            R"("parts":[{"item_name":"tooth","count":"0","parts":[]}],"at":"2000-01-01T00:00:00Z"})");
}

TEST_F(ForeignPayloads, ReportAnUnknownTypeOnce) {
  EXPECT_FALSE(payloads_.has_unknown_types());
  for (int i = 0; i < 3; ++i) json("acme.Order", "");
  EXPECT_TRUE(payloads_.has_unknown_types());
  EXPECT_THAT(payloads_.take_unknown_types(), ElementsAre("acme.Order"));
  json("acme.Order", "");
  EXPECT_THAT(payloads_.take_unknown_types(), IsEmpty());
  payloads_.retry_unknown_types();
  json("acme.Order", "");
  EXPECT_THAT(payloads_.take_unknown_types(), ElementsAre("acme.Order"));
}

TEST_F(ForeignPayloads, ReportNothingThatCannotBeAType) {
  for (const std::string name : {"", "a b", "a\n", "\xff", "a\"", "ä"}) json(name, "");
  json(std::string(512, 'a'), "");
  EXPECT_THAT(payloads_.take_unknown_types(), IsEmpty());
  for (int i = 0; i < 10'000; ++i) json("acme.T" + std::to_string(i), "");
  EXPECT_EQ(payloads_.take_unknown_types().size(), 4096u);
}

TEST_F(ForeignPayloads, ShowTheContentOfAnAny) {
  add({order_file()});
  events::v1::Quote quote;
  quote.set_symbol("MSFT");
  EXPECT_THAT(
      json("acme.Order", delimited(5, any("backplane.events.v1.Quote", quote.SerializeAsString()))),
      HasSubstr(R"("extra":{"@type":"type.googleapis.com/backplane.events.v1.Quote","symbol":"MSFT")"));
  EXPECT_THAT(json("acme.Order", delimited(5, any("acme.Order", delimited(1, "cog")))),
              HasSubstr(R"("extra":{"@type":"type.googleapis.com/acme.Order","item_name":"cog")"));
}

TEST_F(ForeignPayloads, ReportTheUnknownTypeOfAnAny) {
  add({order_file()});
  EXPECT_THAT(json("acme.Order", delimited(5, any("acme.Other", "x"))), StartsWith("{\"@type\":"));
  EXPECT_THAT(payloads_.take_unknown_types(), ElementsAre("acme.Other"));
  auto other = file("acme/other.proto");
  other.add_message_type()->set_name("Other");
  add({other});
  EXPECT_THAT(json("acme.Order", delimited(5, any("acme.Other", ""))), HasSubstr(R"(acme.Other"})"));
}

TEST_F(ForeignPayloads, ThatAreNotOfTheirTypeAreShownAsBase64) {
  add({order_file()});
  const std::vector<std::string> wrong{"\xff\xff", delimited(1, "\xff"), delimited(4, "\x0a\x05x"),
                                       std::string("\x0c\x00", 2),
                                       delimited(3, "\x08\xff\xff\xff\xff\xff\x7f")};
  for (const std::string& value : wrong) EXPECT_THAT(json("acme.Order", value), StartsWith("{\"@type\":"));
}

TEST_F(ForeignPayloads, ThatNestTooDeeplyAreShownAsBase64) {
  add({order_file()});
  std::string value;
  for (int i = 0; i < 200; ++i) value = delimited(4, value);
  EXPECT_THAT(json("acme.Order", value), StartsWith("{\"@type\":"));
  value.clear();
  for (int i = 0; i < 200; ++i) value = delimited(5, any("acme.Order", value));
  EXPECT_THAT(json("acme.Order", value), StartsWith("{\"@type\":"));
}

FileDescriptorProto wide_file(int fields) {
  auto made = file("acme/wide.proto");
  auto& wide = *made.add_message_type();
  wide.set_name("Wide");
  for (int i = 1; i <= fields; ++i)
    add_field(wide, "field_with_a_long_name_" + std::to_string(i), i, FieldDescriptorProto::TYPE_INT32);
  auto& many = *made.add_message_type();
  many.set_name("Many");
  add_field(many, "wide", 1, FieldDescriptorProto::TYPE_MESSAGE, ".acme.Wide")
      .set_label(FieldDescriptorProto::LABEL_REPEATED);
  made.add_dependency("google/protobuf/any.proto");
  add_field(many, "any", 2, FieldDescriptorProto::TYPE_MESSAGE, ".google.protobuf.Any")
      .set_label(FieldDescriptorProto::LABEL_REPEATED);
  return made;
}

TEST_F(ForeignPayloads, ThatWouldTakeGigabytesAreShownAsBase64) {
  add({wide_file(1000)});
  EXPECT_THAT(json("acme.Wide", ""), StartsWith("{\"field_with"));
  std::string empty;  // two bytes each, which stand for a thousand fields
  for (int i = 0; i < 100'000; ++i) empty += delimited(1, "");
  EXPECT_THAT(json("acme.Many", empty), StartsWith("{\"@type\":"));
  std::string hidden;
  for (int i = 0; i < 10'000; ++i) hidden += delimited(2, any("acme.Wide", ""));
  EXPECT_THAT(json("acme.Many", hidden), StartsWith("{\"@type\":"));
}

TEST_F(ForeignPayloads, OfThousandsOfTypesThatContainEachOtherAreShownAsBase64) {
  std::vector<FileDescriptorProto> files;
  std::string before;
  for (int f = 0; f < 20; ++f) {
    auto made = file("acme/chain" + std::to_string(f) + ".proto");
    if (f > 0) made.add_dependency("acme/chain" + std::to_string(f - 1) + ".proto");
    for (int i = 0; i < 1000; ++i) {
      auto& type = *made.add_message_type();
      type.set_name("T" + std::to_string(f) + "_" + std::to_string(i));
      if (!before.empty()) add_field(type, "x", 1, FieldDescriptorProto::TYPE_MESSAGE, before);
      before = ".acme." + type.name();
    }
    files.push_back(made);
  }
  add(files);
  EXPECT_EQ(json("acme.T0_998", ""), R"({})");
  EXPECT_THAT(json("acme.T19_999", ""), StartsWith("{\"@type\":"));
}

TEST_F(ForeignPayloads, OfProto2AreShownAsUtf8OrAsBase64) {
  auto made = file("acme/old.proto");
  made.set_syntax("proto2");
  auto& old = *made.add_message_type();
  old.set_name("Old");
  add_field(old, "s", 1, FieldDescriptorProto::TYPE_STRING);
  auto& needs = *made.add_message_type();
  needs.set_name("Needs");
  add_field(needs, "n", 1, FieldDescriptorProto::TYPE_INT32).set_label(FieldDescriptorProto::LABEL_REQUIRED);
  auto& set = *made.add_message_type();
  set.set_name("Set");
  set.mutable_options()->set_message_set_wire_format(true);
  set.add_extension_range()->set_start(4);
  set.mutable_extension_range(0)->set_end(100);
  add({made});
  EXPECT_EQ(json("acme.Old", delimited(1, "ok")), R"({"s":"ok"})");
  EXPECT_TRUE(wire::is_utf8(json("acme.Old", delimited(1, "\xff\n"))));
  EXPECT_THAT(json("acme.Needs", ""), StartsWith("{\"@type\":"));
  EXPECT_THAT(json("acme.Set", ""), StartsWith("{\"@type\":"));
}

TEST_F(ForeignPayloads, CannotRedefineATypeThatIsBuiltIn) {
  auto fake = file("fake.proto");
  fake.set_package("backplane.events.v1");
  auto& quote = *fake.add_message_type();
  quote.set_name("Quote");
  add_field(quote, "gone", 1, FieldDescriptorProto::TYPE_INT32);
  add({fake});
  EXPECT_THAT(json("backplane.events.v1.Quote", delimited(1, "MSFT")), StartsWith("{\"symbol\":\"MSFT\""));
  auto google = file("mine.proto");
  google.set_package("google.protobuf");
  google.add_message_type()->set_name("Timestamp");
  EXPECT_EQ(payloads_.add_types(set_of({google})).refusal, Refusal::conflict);
}

TEST_F(ForeignPayloads, AreUnknownAgainAfterTheTypesAreCleared) {
  add({order_file()});
  EXPECT_EQ(json("acme.Order", ""), order_defaults);
  payloads_.clear_types();
  EXPECT_THAT(json("acme.Order", ""), StartsWith("{\"@type\":"));
  auto renamed = order_file();
  renamed.mutable_message_type(0)->mutable_field(0)->set_name("product");
  add({renamed});
  EXPECT_THAT(json("acme.Order", ""), StartsWith("{\"product\":"));
}

TEST_F(ForeignPayloads, KeepTheirTypesIfASetIsRefused) {
  add({order_file()});
  EXPECT_EQ(payloads_.add_types("rubbish").refusal, Refusal::bad_types);
  EXPECT_EQ(payloads_.add_types(std::string(5u << 20, 'x')).refusal, Refusal::too_large);
  auto other = order_file();
  other.mutable_message_type(0)->mutable_field(0)->set_name("product");
  const auto refused = payloads_.add_types(set_of({other}));
  EXPECT_EQ(refused.refusal, Refusal::conflict);
  EXPECT_EQ(refused.text, "\"acme/order.proto\" is already registered with different content");
  EXPECT_EQ(json("acme.Order", ""), order_defaults);
}

TEST_F(ForeignPayloads, AreOneLineWhateverTheBytes) {
  route_protobuf_log();
  add({order_file()});
  const std::string whole = delimited(1, "cog") + std::string("\x10\x07", 2) + delimited(3, "\x08\x01") +
                            delimited(4, delimited(1, "x")) +
                            delimited(5, any("acme.Order", delimited(1, "y")));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int flip = 1; flip < 256; ++flip) {
      std::string value = whole;
      value[at] = static_cast<char>(value[at] ^ flip);
      const std::string line = json("acme.Order", value);
      ASSERT_TRUE(wire::is_utf8(line) && line.find('\n') == std::string::npos && line.ends_with('}')) << line;
    }
  }
}

}  // namespace
}  // namespace backplane
