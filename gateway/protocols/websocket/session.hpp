#pragma once
// A WebSocket client: lines of the line protocol, one per text message.

#include <string_view>
#include <vector>

#include "gateway/encode/websocket_frame.hpp"
#include "gateway/protocols/websocket/frame_reader.hpp"
#include "gateway/session/command_session.hpp"

namespace backplane::gateway::websocket {

/// One client after the handshake. A text message is a line of the line protocol; its line end may be
/// omitted. Events, notices and replies are sent as text frames, in the form of FORMAT json. Lives on its
/// worker; owned by its fanout::Client.
class WebSocketSession final : public CommandSession {
 public:
  /// Replaces the handler of `client`, which has sent the 101 and calls this; it is destroyed when its call
  /// has returned. `rest` is what arrived after the request. `services` outlive the client.
  /// @param subscribes executed first, as commands of the client
  /// @param ignored what is wrong with the request and was ignored, for the client's first reply; may be
  /// empty
  static void begin(fanout::Client& client, const Services& services, std::string_view rest,
                    const std::vector<Subscribe>& subscribes = {}, std::string_view ignored = {});

  WebSocketSession(fanout::Client& client, const Services& services);

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override;
  void on_alarm() override;
  /// The format is set before the first subscription, and is not confirmed to the client.
  void on_format(Format /*format*/) override {}

 protected:
  void close_with_reason(std::string_view reason) override;

 private:
  bool on_message(Opcode what, std::string_view payload);
  void on_text(std::string_view line);
  void execute(const SetFormat& command) override;
  void end_after_quit(std::string_view reply) override;
  void close(CloseCode code, std::string_view reason, std::string_view before = {});

  FrameReader frames_;
  bool pinged_{};  // since the last byte from the client
};

}  // namespace backplane::gateway::websocket
