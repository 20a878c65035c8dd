#include "broker/ingress/raw_event.hpp"

#include <gtest/gtest.h>

#include "backplane/v1/event.pb.h"

namespace backplane::broker {
namespace {

v1::Event made_of(const std::string& payload) {
  std::string bytes(raw_event_bytes(payload.size()), '\0');
  write_raw_event(std::as_bytes(std::span(payload)), std::as_writable_bytes(std::span(bytes)));
  v1::Event event;
  EXPECT_TRUE(event.ParseFromString(bytes)) << payload.size();
  return event;
}

TEST(RawEvent, IsTextIfTheBytesAreUtf8) {
  const v1::Event event = made_of("21.5 °C");
  EXPECT_EQ(event.source(), "raw");
  EXPECT_EQ(event.text(), "21.5 °C");
  EXPECT_EQ(event.sequence(), 0u);
  EXPECT_FALSE(event.has_time());
}

TEST(RawEvent, IsBinaryIfTheyAreNot) {
  EXPECT_EQ(made_of("\xff\xfe").binary(), "\xff\xfe");
}

TEST(RawEvent, OfNoBytesIsAnEmptyTextNotAnEventWithoutPayload) {
  EXPECT_EQ(made_of("").payload_case(), v1::Event::kText);
}

TEST(RawEvent, HasTheAnnouncedSizeAtEveryWidthOfItsLength) {
  for (const std::size_t size : {1u, 127u, 128u, 16'383u, 16'384u, 2'097'151u, 2'097'152u}) {
    EXPECT_EQ(made_of(std::string(size, 'x')).text().size(), size);
  }
}

}  // namespace
}  // namespace backplane::broker
