#pragma once
// JSON objects whose members are texts: reading one from outside, and writing one.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error/error.hpp"

namespace backplane::json {

struct Value {
  enum class Kind {
    text,     ///< a JSON string
    literal,  ///< any other JSON value, as it is written: 1.5, true, null, [1,2]
  };
  std::string text;
  Kind kind{Kind::text};
  /// null
  [[nodiscard]] bool empty() const noexcept { return kind == Kind::literal && text == "null"; }
};

/// Named values in their order. A value type.
class Object {
 public:
  void set(std::string name, Value value) { members_.emplace_back(std::move(name), std::move(value)); }
  /// The first value of that name, or nullptr if there is none or it is empty. Valid until the object
  /// changes.
  [[nodiscard]] const Value* find(std::string_view name) const noexcept {
    for (const auto& [own, value] : members_) {
      if (own == name) return value.empty() ? nullptr : &value;
    }
    return nullptr;
  }
  [[nodiscard]] const std::vector<std::pair<std::string, Value>>& values() const noexcept { return members_; }

 private:
  std::vector<std::pair<std::string, Value>> members_;
};

/// Parses a JSON object. Any bytes may be given; nesting is limited to 32 levels. The error's text says only
/// what is wrong, not where: the caller knows that.
[[nodiscard]] Result<Object> parse_object(std::string_view text);

/// The object as JSON. Its texts must be UTF-8.
[[nodiscard]] std::string to_text(const Object& object);

/// UTF-8 as a JSON string, with its quotes.
[[nodiscard]] std::string quoted(std::string_view text);

/// Whether `text` is a number in JSON's form: 12, -0.5, 1e9; no leading zeros, plus sign or white space.
[[nodiscard]] bool is_number(std::string_view text) noexcept;

}  // namespace backplane::json
