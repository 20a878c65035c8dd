#include "cli/input/event_file.hpp"

#include <cstdio>
#include <optional>
#include <utility>

#include <gmock/gmock.h>
#include <unistd.h>

#include "backplane/v1/session.pb.h"
#include "core/wire/write.hpp"

namespace backplane::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string delivery(const std::string& topic, const std::string& text) {
  v1::ServerMessage message;
  message.mutable_delivery()->set_topic(topic);
  message.mutable_delivery()->mutable_event()->set_text(text);
  std::string bytes;
  wire::append_varint(message.ByteSizeLong(), bytes);
  return bytes + message.SerializeAsString();
}

/// Reads a file with given bytes from its beginning.
class EventFile : public testing::Test {
 protected:
  EventFileReader& open(const std::string& bytes) {
    file_ = std::tmpfile();
    std::fwrite(bytes.data(), 1, bytes.size(), file_);
    std::rewind(file_);
    reader_.emplace(::fileno(file_), "day.events");
    return *reader_;
  }
  void TearDown() override {
    if (file_ != nullptr) std::fclose(file_);
  }
  std::FILE* file_{};
  std::optional<EventFileReader> reader_;
};

TEST_F(EventFile, ReturnsMessagesInTheirOrder) {
  EventFileReader& reader =
      open(delivery("a", "1") + delivery("b", std::string(700'000, 'x')) + delivery("c", "3"));
  EXPECT_EQ(reader.next().value()->delivery().topic(), "a");
  EXPECT_EQ(reader.next().value()->delivery().event().text().size(), 700'000u);
  EXPECT_EQ(reader.next().value()->delivery().topic(), "c");
  EXPECT_EQ(reader.next().value(), nullptr);
  EXPECT_EQ(reader.next().value(), nullptr);
}

TEST_F(EventFile, AnEmptyFileHasNoMessages) {
  EXPECT_EQ(open("").next().value(), nullptr);
}

TEST_F(EventFile, AnErrorNamesTheByteWhereAFileIsTruncated) {
  const std::string first = delivery("a", "1");
  const std::string second = delivery("b", "2");
  for (std::size_t cut = 1; cut < second.size(); ++cut) {
    EventFileReader& reader = open(first + second.substr(0, cut));
    ASSERT_TRUE(reader.next().has_value());
    const auto next = reader.next();
    ASSERT_FALSE(next.has_value()) << cut;
    EXPECT_THAT(next.error().text, StartsWith("day.events: byte " + std::to_string(first.size()) + ": "));
    std::fclose(std::exchange(file_, nullptr));
  }
}

TEST_F(EventFile, AFileThatEndsWithinALengthIsTruncated) {
  const std::string long_one = delivery("a", std::string(1000, 'x'));
  const auto next = open(long_one.substr(0, 1)).next();
  ASSERT_FALSE(next.has_value());
  EXPECT_EQ(next.error().text, "day.events: byte 0: the file ends within a length");
}

TEST_F(EventFile, AnotherKindOfFileIsAnError) {
  EXPECT_THAT(open("topic,price\nMSFT,39.81\n" + std::string(300, 'x')).next().error().text,
              HasSubstr("is this an event file?"));
  std::fclose(std::exchange(file_, nullptr));
  EXPECT_THAT(open(std::string(20, '\xff')).next().error().text, HasSubstr("is this an event file?"));
  std::fclose(std::exchange(file_, nullptr));
  EXPECT_THAT(open(std::string(20, '\0')).next().error().text, HasSubstr("is this an event file?"));
}

}  // namespace
}  // namespace backplane::cli
