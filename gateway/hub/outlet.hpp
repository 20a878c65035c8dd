#pragma once
// The hub's side of the fan-out engine.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "fanout/engine.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/skip.hpp"

namespace backplane::gateway {

/// The functions of an engine that a hub uses; fanout/engine.hpp describes them. Tests implement them on one
/// thread.
class Outlet {
 public:
  virtual ~Outlet() = default;
  virtual void append(std::string_view bytes, const fanout::MessageInfo& info) = 0;
  virtual void set_route(fanout::RouteId route, std::vector<fanout::AudienceId> audiences) = 0;
  virtual void set_interval(fanout::AudienceId audience, std::chrono::milliseconds interval) = 0;
  virtual void join(fanout::ClientId client, fanout::AudienceId audience) = 0;
  virtual void join_buffered(fanout::ClientId client, fanout::AudienceId audience) = 0;
  virtual void release_join_buffer(fanout::ClientId client, fanout::AudienceId audience,
                                   fanout::SkipPtr skip) = 0;
  virtual void transfer_skips(fanout::ClientId client, fanout::AudienceId from, fanout::AudienceId to) = 0;
  virtual void leave(fanout::ClientId client, fanout::AudienceId audience) = 0;
  virtual void advance_low_watermark(fanout::StreamId stream, std::uint64_t position) = 0;
  virtual void post(fanout::ClientId client, std::function<void(fanout::Client&)> task) = 0;
};

/// An engine as an outlet. `engine` outlives it.
class EngineOutlet final : public Outlet {
 public:
  explicit EngineOutlet(fanout::Engine& engine) : engine_(engine) {}
  void append(std::string_view bytes, const fanout::MessageInfo& info) override {
    engine_.append(bytes, info);
  }
  void set_route(fanout::RouteId route, std::vector<fanout::AudienceId> audiences) override {
    engine_.set_route(route, std::move(audiences));
  }
  void set_interval(fanout::AudienceId audience, std::chrono::milliseconds interval) override {
    engine_.set_interval(audience, interval);
  }
  void join(fanout::ClientId client, fanout::AudienceId audience) override { engine_.join(client, audience); }
  void join_buffered(fanout::ClientId client, fanout::AudienceId audience) override {
    engine_.join_buffered(client, audience);
  }
  void release_join_buffer(fanout::ClientId client, fanout::AudienceId audience,
                           fanout::SkipPtr skip) override {
    engine_.release_join_buffer(client, audience, std::move(skip));
  }
  void transfer_skips(fanout::ClientId client, fanout::AudienceId from, fanout::AudienceId to) override {
    engine_.transfer_skips(client, from, to);
  }
  void leave(fanout::ClientId client, fanout::AudienceId audience) override {
    engine_.leave(client, audience);
  }
  void advance_low_watermark(fanout::StreamId stream, std::uint64_t position) override {
    engine_.advance_low_watermark(stream, position);
  }
  void post(fanout::ClientId client, std::function<void(fanout::Client&)> task) override {
    engine_.post(client, std::move(task));
  }

 private:
  fanout::Engine& engine_;
};

}  // namespace backplane::gateway
