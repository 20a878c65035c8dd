#include "gateway/web/assets.hpp"

#include <algorithm>

namespace backplane::gateway::web {

// pack.py generates assets(), sorted by path.
const Asset* find_asset(std::string_view path) noexcept {
  const std::span<const Asset> all = assets();
  const auto found =
      std::lower_bound(all.begin(), all.end(), path,
                       [](const Asset& each, std::string_view searched) { return each.path < searched; });
  return found != all.end() && found->path == path ? &*found : nullptr;
}

}  // namespace backplane::gateway::web
