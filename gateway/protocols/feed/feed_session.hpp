#pragma once
// A client of a feed port: it need not say anything.

#include <string_view>

#include "gateway/session/session.hpp"

namespace backplane::gateway::feed {

/// Receives its feed's topics from the moment that it connects, as `nc host 1500` did in the first Kamaelia
/// server. What it sends is thrown away; that it sends no more is not leaving. Lives on its worker.
class FeedSession final : public Session {
 public:
  FeedSession(fanout::Client& client, const Services& services, Format format)
      : Session(client, services, format) {
    client.exempt_from_timeouts(true);
  }
  void on_bytes(std::string_view /*bytes*/) override {}
  void on_input_end() override {}
};

}  // namespace backplane::gateway::feed
