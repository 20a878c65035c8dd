// Any bytes as the cursor of a control request, and as the place of one.

#include "broker/control/cursor.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tests/fuzz/expect.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backplane;
  using namespace backplane::broker;
  constexpr std::uint64_t stream = 0x0102030405060708;
  constexpr std::array kinds{CursorKind::retained, CursorKind::replay, CursorKind::tails,
                             CursorKind::topics,   CursorKind::types,  CursorKind::participants};
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  std::size_t accepted = 0;
  for (const CursorKind kind : kinds) {
    const OpenedCursor opened = open_cursor(kind, stream, input);
    if (opened.fault != CursorFault::none) continue;
    ++accepted;
    fuzz::expect(input.ends_with(opened.place), "a place is the end of its cursor");
    fuzz::expect(seal_cursor(kind, stream, opened.place) == input, "a cursor is sealed in one way");
    fuzz::expect(open_cursor(kind, stream + 1, input).fault == CursorFault::other_stream,
                 "a cursor is of one stream");
  }
  fuzz::expect(accepted <= 1, "a cursor is of one kind");

  const std::string sealed = seal_cursor(CursorKind::replay, stream, input);
  const OpenedCursor own = open_cursor(CursorKind::replay, stream, sealed);
  fuzz::expect(own.fault == CursorFault::not_ours || own.place == input, "a place comes back");
  if (const auto number = read_number(input)) {
    std::uint64_t parsed = 0;
    const auto [end, error] = std::from_chars(input.data(), input.data() + input.size(), parsed);
    fuzz::expect(error == std::errc{} && end == input.data() + input.size() && parsed == *number,
                 "a number is all of its place");
  }
  return 0;
}
