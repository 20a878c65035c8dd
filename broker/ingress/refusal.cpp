#include "broker/ingress/refusal.hpp"

#include <array>

namespace backplane::broker {
namespace {

constexpr std::array<std::string_view, refusal_count> names{
    "none",        "wrong_frames",  "bad_topic",      "reserved_topic",  "too_large",       "truncated",
    "bad_varint",  "field_zero",    "group",          "wrong_wire_type", "source_not_utf8", "text_not_utf8",
    "bad_time",    "bad_message",   "bad_attributes", "stamped",         "bad_lost",        "repeat",
    "topics_full", "sequence_jump", "not_permitted",  "wrong_user"};

constexpr std::size_t index(Refusal refusal) {
  return static_cast<std::size_t>(refusal);
}
constexpr std::size_t index(wire::EventFault fault) {
  return static_cast<std::size_t>(fault);
}

// refusal_of() adds an offset: both lists must have the same order.
static_assert(index(Refusal::bad_lost) - index(Refusal::truncated) ==
              index(wire::EventFault::bad_lost) - index(wire::EventFault::truncated));

}  // namespace

std::string_view name(Refusal refusal) noexcept {
  return names[index(refusal)];
}

Refusal refusal_of(wire::EventFault fault) noexcept {
  if (fault == wire::EventFault::none) return Refusal::none;
  return static_cast<Refusal>(index(Refusal::truncated) + index(fault) - index(wire::EventFault::truncated));
}

}  // namespace backplane::broker
