#pragma once
// The line protocol, and protobuf messages after FORMAT proto.

#include <memory>
#include <string_view>

#include "gateway/protocols/proto/message_reader.hpp"
#include "gateway/session/command_session.hpp"
#include "gateway/session/line_reader.hpp"

namespace backplane::gateway::line {

/// One client of the line protocol: parses its bytes into commands. Lives on its worker; owned by its
/// fanout::Client.
class LineSession final : public CommandSession {
 public:
  LineSession(fanout::Client& client, const Services& services);

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override;
  void on_alarm() override { check_half_closed(); }

 private:
  /// @returns whether the bytes that follow are a line again.
  bool on_line(std::string_view line, bool too_long);
  void on_messages(std::string_view bytes);
  void execute(const SetFormat& command) override;

  LineReader lines_;
  std::unique_ptr<proto::MessageReader> messages_;  // reads instead of lines_ after FORMAT proto
};

}  // namespace backplane::gateway::line
