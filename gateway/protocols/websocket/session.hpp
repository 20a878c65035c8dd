#pragma once
// A client that speaks WebSocket: the line protocol's lines, one a text message.

#include <string_view>

#include "gateway/encode/websocket_frame.hpp"
#include "gateway/protocols/websocket/frame_reader.hpp"
#include "gateway/session/command_session.hpp"

namespace backplane::gateway::websocket {

/// One client behind the handshake. A text message is a line of the line protocol, whose end may be left out;
/// events, notices and answers go to it as text frames, in the words of FORMAT json. Lives on its worker;
/// owned by its fanout::Client.
class WebSocketSession final : public CommandSession {
 public:
  /// Makes one of `client`, which has been answered 101 by the handler that calls this: that is destroyed
  /// when its call has returned. `rest` is what came behind the request. `services` outlive the client.
  static void begin(fanout::Client& client, const Services& services, std::string_view rest);

  WebSocketSession(fanout::Client& client, const Services& services);

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override;
  void on_alarm() override;
  /// It is in force before anything is subscribed to, and is not answered.
  void on_format(Format /*format*/) override {}

 protected:
  void last_words(std::string_view reason) override;

 private:
  bool on_message(Opcode what, std::string_view payload);
  void execute(const SetFormat& command) override;
  void end_as_asked(std::string_view answer) override;
  void close(CloseCode code, std::string_view reason, std::string_view before = {});

  FrameReader frames_;
  bool pinged_{};  // and nothing has come since
};

}  // namespace backplane::gateway::websocket
