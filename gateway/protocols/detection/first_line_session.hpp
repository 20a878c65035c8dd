#pragma once
// A client of the one port, until it is known what it speaks.

#include <string>
#include <string_view>

#include "gateway/session/first_line.hpp"
#include "gateway/session/session.hpp"

namespace backplane::gateway {

/// Reads a client's first line, within the limits of the line protocol, and becomes the session of what it
/// speaks. Lives on its worker; owned by its fanout::Client.
class FirstLineSession final : public Session {
 public:
  FirstLineSession(fanout::Client& client, const Services& services)
      : Session(client, services, Format::text) {}

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override;
  void on_alarm() override;

 private:
  void begin();
  void become(Protocol protocol, std::string_view bytes);

  std::string begun_;  ///< a line without its end
  fanout::Client::Clock::time_point begun_at_{};
};

}  // namespace backplane::gateway
