#include "publishers/sources/json.hpp"

// The library as part of this file: Debian's headers come without the compiled one.
#include <boost/json/src.hpp>
#include <fmt/format.h>

namespace backplane::sources {
namespace {

namespace json = boost::json;

/// Takes digits off the front. @returns how many.
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

}  // namespace

Result<Record> parse_json_object(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return fail(ErrorCode::protocol, "wanted a JSON object, got: " + error.message());
  if (!value.is_object()) return fail(ErrorCode::protocol, "wanted a JSON object, got another JSON value");
  Record record;
  for (const auto& [key, member] : value.get_object()) {
    if (member.is_string()) {
      record.set(std::string(key), {std::string(member.get_string()), Value::Kind::text});
    } else {
      // The library writes 1.5 as 1.5E0, which is right and which nobody would write.
      record.set(std::string(key),
                 {member.is_double() ? fmt::format("{}", member.get_double()) : json::serialize(member),
                  Value::Kind::literal});
    }
  }
  return record;
}

std::string to_json(const Record& record) {
  std::string out = "{";
  for (const auto& [name, value] : record.values()) {
    if (out.size() > 1) out += ',';
    out += json_string(name);
    out += ':';
    out += value.kind == Value::Kind::literal ? value.text : json_string(value.text);
  }
  return out + '}';
}

std::string json_string(std::string_view text) {
  return json::serialize(json::string_view(text.data(), text.size()));
}

bool is_json_number(std::string_view text) noexcept {
  take(text, "-");
  if (!take(text, "0") && take_digits(text) == 0) return false;
  if (take(text, ".") && take_digits(text) == 0) return false;
  if (take(text, "eE")) {
    take(text, "+-");
    if (take_digits(text) == 0) return false;
  }
  return text.empty();
}

}  // namespace backplane::sources
