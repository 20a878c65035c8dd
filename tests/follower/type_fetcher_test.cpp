#include "follower/control/type_fetcher.hpp"

#include <optional>

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

namespace backplane::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

/// The files of a type farm.Milk with one field.
std::string milk_files() {
  google::protobuf::FileDescriptorSet set;
  auto& file = *set.add_file();
  file.set_name("farm.proto");
  file.set_package("farm");
  file.set_syntax("proto3");
  auto& type = *file.add_message_type();
  type.set_name("Milk");
  auto& field = *type.add_field();
  field.set_name("litres");
  field.set_number(1);
  field.set_type(google::protobuf::FieldDescriptorProto::TYPE_INT32);
  field.set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
  return set.SerializeAsString();
}

class TypeFetcherTest : public ::testing::Test {
 protected:
  TypeFetcherTest() {
    fetcher.emplace(
        payloads,
        [this](const std::vector<std::string>& names, TypeFetcher::Handler handler) {
          requested.insert(requested.end(), names.begin(), names.end());
          if (immediate) return handler(*immediate);
          pending.push_back(std::move(handler));
        },
        TypeFetcher::Options{2s, [this](const std::string&) { ++invalid; }});
  }
  std::string json(std::string_view type) {
    std::string out;
    payloads.append(std::string("type.googleapis.com/") + std::string(type), "\x08\x2a", out);
    return out;
  }

  PayloadJson payloads;
  std::optional<TypeFetcher> fetcher;
  std::optional<Result<TypesReply>> immediate;  // if set, the broker replies at once
  std::vector<TypeFetcher::Handler> pending;
  std::vector<std::string> requested;
  int invalid{};
  TypeFetcher::Clock::time_point now{1h};
};

TEST_F(TypeFetcherTest, RequestsATypeOnceAndAddsItWhenTheReplyComes) {
  EXPECT_FALSE(fetcher->turn(now));
  (void)json("farm.Milk");
  EXPECT_FALSE(fetcher->turn(now));
  (void)json("farm.Milk");
  EXPECT_FALSE(fetcher->turn(now));
  EXPECT_THAT(requested, ElementsAre("farm.Milk"));
  pending.at(0)(TypesReply{milk_files(), {}});
  EXPECT_EQ(json("farm.Milk"), R"({"litres":42})");
}

TEST_F(TypeFetcherTest, SaysThatTypesWereAddedIfTheReplyCameAtOnce) {
  immediate = TypesReply{milk_files(), {}};
  (void)json("farm.Milk");
  EXPECT_TRUE(fetcher->turn(now));
  EXPECT_EQ(json("farm.Milk"), R"({"litres":42})");
}

TEST_F(TypeFetcherTest, RequestsAnUnknownTypeAgainAfterTheInterval) {
  immediate = TypesReply{};
  fetcher->turn(now);
  (void)json("farm.Milk");
  EXPECT_FALSE(fetcher->turn(now));
  (void)json("farm.Milk");
  EXPECT_FALSE(fetcher->turn(now + 1999ms));
  EXPECT_THAT(requested, ElementsAre("farm.Milk"));
  EXPECT_FALSE(fetcher->turn(now + 2s));
  (void)json("farm.Milk");
  EXPECT_FALSE(fetcher->turn(now + 2s));
  EXPECT_THAT(requested, ElementsAre("farm.Milk", "farm.Milk"));
}

TEST_F(TypeFetcherTest, KeepsOneRequestPendingAtATime) {
  (void)json("farm.Milk");
  fetcher->turn(now);
  (void)json("farm.Hay");
  fetcher->turn(now);
  EXPECT_THAT(requested, ElementsAre("farm.Milk"));
  pending.at(0)(fail(ErrorCode::timeout, "no reply"));
  fetcher->turn(now);
  EXPECT_THAT(requested, ElementsAre("farm.Milk", "farm.Hay"));
}

TEST_F(TypeFetcherTest, ReportsTypesThatCannotBeUsed) {
  immediate = TypesReply{"rubbish", {}};
  (void)json("farm.Milk");
  EXPECT_FALSE(fetcher->turn(now));
  EXPECT_EQ(invalid, 1);
}

TEST_F(TypeFetcherTest, IgnoresAReplyAfterItsEnd) {
  (void)json("farm.Milk");
  fetcher->turn(now);
  fetcher.reset();
  pending.at(0)(TypesReply{milk_files(), {}});
  EXPECT_NE(json("farm.Milk"), R"({"litres":42})");
}

}  // namespace
}  // namespace backplane::testing
