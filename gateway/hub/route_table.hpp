#pragma once
// Sets of audiences, each with one number.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "fanout/log/ids.hpp"
#include "gateway/hub/outlet.hpp"

namespace backplane::gateway {

/// The engine's routes. Topics whose events go to the same audiences share one route: a million topics of one
/// subscription are one route, and a run of their events is one span in the engine. Routes are counted. Lives
/// on the hub's thread.
class RouteTable {
 public:
  /// The route of no audiences.
  static constexpr fanout::RouteId none{0xFFFF'FFFF};

  /// `outlet` outlives it.
  explicit RouteTable(Outlet& outlet) : outlet_(outlet) {}

  /// @param audiences sorted, without duplicates
  /// @returns their route, to be released by release(); `none` if there are no audiences.
  [[nodiscard]] fanout::RouteId acquire(std::span<const fanout::AudienceId> audiences);
  void release(fanout::RouteId route);
  /// Acquires the new set before it releases `route`: a set that stays the same costs the engine nothing.
  void replace(fanout::RouteId& route, std::span<const fanout::AudienceId> audiences) {
    const fanout::RouteId before = route;
    route = acquire(audiences);
    release(before);
  }

 private:
  using Set = std::vector<fanout::AudienceId>;
  struct Hash {
    using is_transparent = void;
    // Without noexcept, libstdc++ stores each hash next to its set and compares hashes first.
    std::size_t operator()(std::span<const fanout::AudienceId> set) const {
      std::uint64_t hash = set.size();
      for (const fanout::AudienceId id : set)
        hash = (hash ^ static_cast<std::uint64_t>(id)) * 0x9E37'79B9'7F4A'7C15u;
      return hash;
    }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(std::span<const fanout::AudienceId> a,
                    std::span<const fanout::AudienceId> b) const noexcept {
      return std::equal(a.begin(), a.end(), b.begin(), b.end());
    }
  };
  struct Route {
    std::size_t users{};
    Set set;
  };

  Outlet& outlet_;
  std::unordered_map<Set, fanout::RouteId, Hash, Equal> by_set_;
  std::vector<Route> routes_;  // by id
  std::vector<fanout::RouteId> free_;
};

}  // namespace backplane::gateway
