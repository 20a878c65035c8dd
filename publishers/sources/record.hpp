#pragma once
// One record of a data file, in any format.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane::sources {

struct Value {
  enum class Kind {
    text,     ///< a JSON string, or a field of a table
    literal,  ///< any other JSON value, as written: 1.5, true, null, [1,2]
  };
  std::string text;
  Kind kind{Kind::text};
  /// Whether it is null, or an empty field of a table.
  [[nodiscard]] bool empty() const noexcept { return kind == Kind::literal && text == "null"; }
};

/// Named values, in order. A value type.
class Record {
 public:
  void set(std::string name, Value value) { values_.emplace_back(std::move(name), std::move(value)); }
  /// The value; null if there is none or it is empty. Valid until the record changes.
  [[nodiscard]] const Value* find(std::string_view name) const noexcept {
    for (const auto& [own, value] : values_) {
      if (own == name) return value.empty() ? nullptr : &value;
    }
    return nullptr;
  }
  [[nodiscard]] const std::vector<std::pair<std::string, Value>>& values() const noexcept { return values_; }

 private:
  std::vector<std::pair<std::string, Value>> values_;
};

}  // namespace backplane::sources
