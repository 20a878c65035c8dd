#pragma once
// A client whose protocol is not known yet.

#include <string>
#include <string_view>

#include "gateway/session/first_line.hpp"
#include "gateway/session/session.hpp"

namespace backplane::gateway {

/// Reads a client's first line, within the limits of the line protocol, and replaces itself by the session of
/// the protocol that the line belongs to. Lives on its worker; owned by its fanout::Client.
class FirstLineSession final : public Session {
 public:
  FirstLineSession(fanout::Client& client, const Services& services)
      : Session(client, services, Format::text) {}

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override;
  void on_alarm() override;

 private:
  std::string_view without_empty_lines(std::string_view bytes);
  void begin();
  void become(Protocol protocol, std::string_view bytes);
  void refuse(std::string_view code, std::string_view text);

  std::string begun_;  ///< the line, as far as it has arrived
  bool after_cr_{};    ///< a NUL that follows belongs to an empty line
  fanout::Client::Clock::time_point begun_at_{};
};

}  // namespace backplane::gateway
