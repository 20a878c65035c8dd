#include "follower/order/resume_token.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "core/log/escape.hpp"

namespace backplane {
namespace {

constexpr std::size_t positions_max = 64;
constexpr std::size_t stream_digits = 16;
constexpr std::size_t shown_bytes_max = 64;

std::optional<std::uint64_t> parse_number(std::string_view digits, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<StreamPosition> parse_position(std::string_view text) {
  if (text.size() <= stream_digits || text[stream_digits] != ':') return std::nullopt;
  const auto stream = parse_number(text.substr(0, stream_digits), 16);
  const auto position = parse_number(text.substr(stream_digits + 1), 10);
  if (!stream || !position) return std::nullopt;
  return StreamPosition{*stream, *position};
}

}  // namespace

std::string resume_token(const std::vector<StreamPosition>& positions) {
  std::string text;
  for (const StreamPosition& each : positions) {
    if (!text.empty()) text += ',';
    text += fmt::format("{:016x}:{}", each.stream, each.position);
  }
  return text;
}

Result<std::vector<StreamPosition>> parse_resume_token(std::string_view text) {
  const auto refuse = [&](std::string_view expected) {
    return fail(ErrorCode::invalid_argument, fmt::format("resume token: expected {}, got \"{}\"", expected,
                                                         log::escape(text.substr(0, shown_bytes_max))));
  };
  std::vector<StreamPosition> positions;
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    const auto one = parse_position(rest.substr(0, comma));
    if (!one) return refuse("<16 hex digits>:<position>, several joined by commas");
    const bool known = std::any_of(positions.begin(), positions.end(),
                                   [&](const StreamPosition& each) { return each.stream == one->stream; });
    if (known || positions.size() == positions_max) return refuse("at most 64 positions, each stream once");
    positions.push_back(*one);
    if (comma == std::string_view::npos) return positions;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace backplane
