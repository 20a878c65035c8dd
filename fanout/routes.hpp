#pragma once
// The audiences of each route.

#include <algorithm>
#include <cstddef>
#include <vector>

#include "fanout/log/ids.hpp"
#include "fanout/small_vector.hpp"

namespace backplane::fanout {

/// Which audiences get the messages of a route. Owned by a shard, on its thread.
class Routes {
 public:
  using Audiences = SmallVector<AudienceId>;

  void set(RouteId route, const std::vector<AudienceId>& audiences) {
    const auto at = static_cast<std::size_t>(route);
    if (at >= routes_.size()) routes_.resize(at + 1);
    routes_[at] = Audiences(audiences);
  }
  /// @returns the route's audiences, valid until the next set(); nullptr if the route is unknown.
  [[nodiscard]] const Audiences* find(RouteId route) const noexcept {
    const auto at = static_cast<std::size_t>(route);
    return at < routes_.size() ? &routes_[at] : nullptr;
  }
  [[nodiscard]] bool contains(RouteId route, AudienceId audience) const noexcept {
    const Audiences* const all = find(route);
    return all != nullptr && std::find(all->begin(), all->end(), audience) != all->end();
  }

 private:
  std::vector<Audiences> routes_;  ///< by id
};

}  // namespace backplane::fanout
