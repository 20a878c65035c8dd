#pragma once
// A hash for maps with string keys that are looked up by string_view.

#include <cstddef>
#include <functional>
#include <string_view>

namespace backplane {

/// Lets an unordered map with string keys be searched by a string_view without a copy. Use it with
/// std::equal_to<>.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};

}  // namespace backplane
