#include "core/json/object.hpp"

#include <algorithm>
#include <cmath>

// Compiles Boost.JSON as part of this file: Debian's headers come without the library.
#include <boost/json/src.hpp>
#include <fmt/format.h>

namespace backplane::json {
namespace {

namespace boost_json = boost::json;

/// Removes the digits at the front. @returns how many there were.
std::size_t take_digits(std::string_view& text) noexcept {
  std::size_t count = 0;
  while (count < text.size() && text[count] >= '0' && text[count] <= '9') ++count;
  text.remove_prefix(count);
  return count;
}

bool take(std::string_view& text, std::string_view one_of) noexcept {
  if (text.empty() || one_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

/// Whether it contains a number of which the library has made an infinity, because it is above the range of a
/// double, or NaN (-0e400). JSON has neither.
bool is_out_of_range(const boost_json::value& value) {
  if (value.is_double()) return !std::isfinite(value.get_double());
  if (value.is_array()) {
    return std::any_of(value.get_array().begin(), value.get_array().end(), is_out_of_range);
  }
  if (!value.is_object()) return false;
  return std::any_of(value.get_object().begin(), value.get_object().end(),
                     [](const auto& member) { return is_out_of_range(member.value()); });
}

}  // namespace

Result<Object> parse_object(std::string_view text) {
  boost::system::error_code error;
  const boost_json::value value = boost_json::parse(boost_json::string_view(text.data(), text.size()), error);
  if (error) return fail(ErrorCode::protocol, "expected a JSON object, got invalid JSON: " + error.message());
  if (!value.is_object()) return fail(ErrorCode::protocol, "expected a JSON object, got another JSON value");
  if (is_out_of_range(value)) {
    return fail(ErrorCode::protocol, "expected a JSON object, got one with a number that is too large");
  }
  Object object;
  for (const auto& [key, member] : value.get_object()) {
    if (member.is_string()) {
      object.set(std::string(key), {std::string(member.get_string()), Value::Kind::text});
    } else {
      // The library writes 1.5 as 1.5E0: valid, but not what people write.
      object.set(std::string(key),
                 {member.is_double() ? fmt::format("{}", member.get_double()) : boost_json::serialize(member),
                  Value::Kind::literal});
    }
  }
  return object;
}

std::string to_text(const Object& object) {
  std::string out = "{";
  for (const auto& [name, value] : object.values()) {
    if (out.size() > 1) out += ',';
    out += quoted(name);
    out += ':';
    out += value.kind == Value::Kind::literal ? value.text : quoted(value.text);
  }
  return out + '}';
}

std::string quoted(std::string_view text) {
  return boost_json::serialize(boost_json::string_view(text.data(), text.size()));
}

bool is_number(std::string_view text) noexcept {
  take(text, "-");
  if (!take(text, "0") && take_digits(text) == 0) return false;
  if (take(text, ".") && take_digits(text) == 0) return false;
  if (take(text, "eE")) {
    take(text, "+-");
    if (take_digits(text) == 0) return false;
  }
  return text.empty();
}

}  // namespace backplane::json
