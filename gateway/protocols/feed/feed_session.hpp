#pragma once
// A client of a feed port, which needs no command.

#include <string_view>

#include "gateway/session/session.hpp"

namespace backplane::gateway::feed {

/// Receives the feed's topics as soon as it connects, as `nc host 1500` did in the first Kamaelia server. Its
/// input is ignored, and it stays when it closes its side. Lives on its worker.
class FeedSession final : public Session {
 public:
  FeedSession(fanout::Client& client, const Services& services, Format format)
      : Session(client, services, format) {
    client.exempt_from_timeouts(true);
  }
  void on_bytes(std::string_view /*bytes*/) override {}
  void on_input_end() override { watch_half_closed(); }
  void on_alarm() override { check_half_closed(); }
};

}  // namespace backplane::gateway::feed
