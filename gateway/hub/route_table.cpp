#include "gateway/hub/route_table.hpp"

namespace backplane::gateway {

fanout::RouteId RouteTable::acquire(std::span<const fanout::AudienceId> audiences) {
  if (audiences.empty()) return none;
  if (const auto known = by_set_.find(audiences); known != by_set_.end()) {
    ++routes_[static_cast<std::size_t>(known->second)].users;
    return known->second;
  }
  if (free_.empty()) {
    free_.push_back(fanout::RouteId{static_cast<std::uint32_t>(routes_.size())});
    routes_.emplace_back();
  }
  const fanout::RouteId id = free_.back();
  free_.pop_back();
  const Set set(audiences.begin(), audiences.end());
  by_set_.emplace(set, id);
  routes_[static_cast<std::size_t>(id)] = {1, set};
  outlet_.set_route(id, set);
  return id;
}

void RouteTable::release(fanout::RouteId route) {
  if (route == none) return;
  Route& known = routes_[static_cast<std::size_t>(route)];
  if (--known.users > 0) return;
  by_set_.erase(known.set);
  known.set.clear();
  free_.push_back(route);
}

}  // namespace backplane::gateway
