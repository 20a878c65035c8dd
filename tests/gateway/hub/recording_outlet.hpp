#pragma once
// An outlet that records what the hub's parts set.

#include <chrono>
#include <functional>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/hub/outlet.hpp"

namespace backplane::gateway {

/// Remembers routes, intervals and low watermarks. Members and messages are ignored.
class RecordingOutlet final : public Outlet {
 public:
  void append(std::string_view, const fanout::MessageInfo&) override {}
  void set_route(fanout::RouteId route, std::vector<fanout::AudienceId> audiences) override {
    ++routes_set;
    routes[route] = std::move(audiences);
  }
  void set_interval(fanout::AudienceId audience, std::chrono::milliseconds interval) override {
    intervals[audience] = interval;
  }
  void join(fanout::ClientId, fanout::AudienceId) override {}
  void join_buffered(fanout::ClientId, fanout::AudienceId) override {}
  void release_join_buffer(fanout::ClientId, fanout::AudienceId, fanout::SkipPtr) override {}
  void transfer_skips(fanout::ClientId, fanout::AudienceId, fanout::AudienceId) override {}
  void leave(fanout::ClientId, fanout::AudienceId) override {}
  void advance_low_watermark(fanout::StreamId stream, std::uint64_t position) override {
    low_watermarks[stream] = position;
  }
  void post(fanout::ClientId, std::function<void(fanout::Client&)>) override {}

  std::map<fanout::RouteId, std::vector<fanout::AudienceId>> routes;
  std::map<fanout::AudienceId, std::chrono::milliseconds> intervals;
  std::map<fanout::StreamId, std::uint64_t> low_watermarks;
  int routes_set{};
};

}  // namespace backplane::gateway
