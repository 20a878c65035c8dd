#include "follower/control/since.hpp"

#include <charconv>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "core/log/escape.hpp"
#include "core/time/duration.hpp"

namespace backplane {
namespace {

tl::unexpected<Error> expected(std::string_view what, std::string_view got) {
  constexpr std::size_t shown_bytes_max = 64;
  const bool cut = got.size() > shown_bytes_max;
  return fail(ErrorCode::invalid_argument,
              fmt::format("expected {}, got \"{}{}\"", what, log::escape(got.substr(0, shown_bytes_max)),
                          cut ? "…" : ""));
}

bool is_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

Result<Since> parse_since(std::string_view text) {
  if (text.find(':') != std::string_view::npos) {
    auto positions = parse_resume_token(text);
    if (!positions) return tl::unexpected(std::move(positions.error()));
    return Since{AfterPositions{std::move(*positions)}};
  }
  if (is_digits(text)) {
    std::uint64_t offset = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), offset);
    if (error == std::errc{}) return Since{AfterOffset{offset}};
  } else if (const auto ago = parse_duration(text, "since")) {
    return since_ago(*ago, text);
  }
  return expected("a duration such as 10m, an offset such as 17 or a resume token", text);
}

Result<Since> since_ago(std::chrono::nanoseconds ago, std::string_view text) {
  if (ago > std::chrono::nanoseconds{0} && ago <= since_max) return Since{ago};
  return expected("a duration above 0 and of at most 3650d", text);
}

std::optional<ReplayFrom> replay_from(const Since& since, std::chrono::steady_clock::time_point now) {
  if (const auto* ago = std::get_if<std::chrono::nanoseconds>(&since)) {
    return ReplayFrom{SinceAgo{*ago, now}};
  }
  if (const auto* offset = std::get_if<AfterOffset>(&since)) return ReplayFrom{*offset};
  if (const auto* positions = std::get_if<AfterPositions>(&since)) return ReplayFrom{*positions};
  return std::nullopt;
}

}  // namespace backplane
