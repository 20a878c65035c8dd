#include <array>
#include <span>
#include <string>

#include <gtest/gtest.h>

#include "backplane/v1/event.pb.h"
#include "core/wire/stamp.hpp"
#include "gateway/encode/encoder.hpp"
#include "tests/allocations/counted_new.hpp"

namespace backplane::gateway {
namespace {

TEST(EncodeMemory, EventsOfTextAndBytesAllocateNothingOnceBuffersHaveGrown) {
  const wire::Stamp stamp{
      .stream = 1, .position = 2, .offset = 3, .previous = 1, .received_ns = 1'234'567'891};
  std::array<std::byte, wire::stamp_bytes> tail{};
  wire::write_stamp(stamp, tail);
  Encoder encoder;
  std::string out;
  out.reserve(1u << 16);
  for (const bool text : {true, false}) {
    v1::Event event;
    event.set_source("clock@host7");
    event.mutable_time()->set_seconds(946'684'800);
    event.mutable_time()->set_nanos(123'456'789);
    if (text) {
      event.set_text(std::string(128, 'x') + "\n\\\"\x1b");
    } else {
      event.set_binary(std::string(128, '\xff'));
    }
    std::string bytes = event.SerializeAsString();
    bytes.append(reinterpret_cast<const char*>(tail.data()), tail.size());
    const std::size_t before = testing::allocations;
    for (const Format format : {Format::text, Format::text_offset, Format::json, Format::proto}) {
      out.clear();
      const bool encoded = encoder.encode(format, "clock", std::as_bytes(std::span(bytes)), stamp, out);
      ASSERT_TRUE(encoded);
      ASSERT_EQ(testing::allocations, before) << name(format);
    }
  }
}

}  // namespace
}  // namespace backplane::gateway
