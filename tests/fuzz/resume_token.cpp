// Any bytes as a resume token.

#include "follower/order/resume_token.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string_view>

#include "core/wire/scan.hpp"
#include "tests/fuzz/expect.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backplane;
  const auto positions = parse_resume_token({reinterpret_cast<const char*>(data), size});
  if (!positions) {
    const std::string& text = positions.error().text;
    const bool plain =
        std::none_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; });
    fuzz::expect(plain && wire::is_utf8(text) && text.size() < 1024,
                 "an error is one short line that a terminal can show");
    return 0;
  }
  fuzz::expect(!positions->empty() && positions->size() <= 64, "a token has 1 to 64 positions");
  std::set<std::uint64_t> streams;
  for (const StreamPosition& each : *positions) streams.insert(each.stream);
  fuzz::expect(streams.size() == positions->size(), "each position is of another stream");
  const auto again = parse_resume_token(resume_token(*positions));
  fuzz::expect(again && *again == *positions, "a token is written as it was read");
  return 0;
}
