#pragma once
// A client that receives Server-Sent Events.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/commands/command.hpp"
#include "gateway/protocols/http/counters.hpp"
#include "gateway/protocols/http/message.hpp"
#include "gateway/session/session.hpp"

namespace backplane::gateway::sse {

/// The response head of an event stream.
[[nodiscard]] http::Response stream_head();

/// One client's event stream: events and notices from the hub, and a comment after some quiet time, which
/// shows both sides that the other is there. The response begins when the first subscription is active, or
/// when there is no broker; until then it can still be an error.
///
/// An id means that everything before it has been sent. This is true of live events and of the history of one
/// pattern. Retained values have no order, and the histories of several patterns are interleaved: until these
/// have been sent, events have no id, and a client that is cut off meanwhile resumes from its earlier
/// position. Then one id without an event is sent, for a client that is cut off before its next event.
///
/// The client's input is ignored. Lives on its worker; owned by its fanout::Client.
class SseSession final : public Session {
 public:
  /// `counters` outlive the session.
  SseSession(fanout::Client& client, const Services& services, http::Counters& counters, http::Response head);
  ~SseSession() override;
  SseSession(const SseSession&) = delete;
  SseSession& operator=(const SseSession&) = delete;

  /// Called once, when the session has become its client's handler.
  /// @param remark one line for a person, sent as a comment; may be empty
  void begin(const std::vector<Subscribe>& subscribes, std::string_view remark);

  void on_bytes(std::string_view /*bytes*/) override {}
  /// The client may still be listening: a comment shows whether it is.
  void on_input_end() override;
  void on_alarm() override;
  void on_subscribed(std::string_view pattern) override;
  void on_refused(std::string_view pattern, std::string_view code, std::string_view text) override;
  void on_format(Format /*format*/) override {}
  void on_position(const StreamPositions& reached) override;
  void on_subscriptions(bool any) override;
  void on_broker(bool up) override;

 protected:
  void close_with_reason(std::string_view reason) override;

 private:
  void begin_stream();
  void refuse(std::string_view code, std::string_view text);

  http::Counters& counters_;
  http::Response head_;
  std::string remark_;
  bool streaming_{};
  bool numbered_{};        ///< the backfill of the subscriptions has ids too
  std::size_t waiting_{};  ///< subscriptions that are not active yet
};

}  // namespace backplane::gateway::sse
