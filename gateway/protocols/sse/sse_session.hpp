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

/// The head of a stream of events.
[[nodiscard]] http::Response stream_head();

/// One client's stream: events and notices as the hub gives them, and a comment where there is nothing to say
/// for some time, so that neither side takes the other for gone. The answer begins when the first
/// subscription is in force, or where there is no broker; until then it can still be an error.
///
/// An id says: all before it has been given. That holds for live events and for the history of one pattern.
/// Retained values come in no order, and several patterns' histories beside each other: what is given before
/// all of that is there has no id, so that whoever is cut off meanwhile resumes from where it was before.
/// Behind it comes an id without an event, for who is cut off before the first one.
/// What the client sends is not read. Lives on its worker; owned by its fanout::Client.
class SseSession final : public Session {
 public:
  /// `counters` outlive the session.
  SseSession(fanout::Client& client, const Services& services, http::Counters& counters, http::Response head);
  ~SseSession() override;
  SseSession(const SseSession&) = delete;
  SseSession& operator=(const SseSession&) = delete;

  /// Once it is its client's handler.
  void begin(const std::vector<Subscribe>& subscribes);

  void on_bytes(std::string_view /*bytes*/) override {}
  /// It may still be listening: a comment finds out.
  void on_input_end() override {}
  void on_alarm() override;
  void on_subscribed(std::string_view pattern) override;
  void on_refused(std::string_view pattern, std::string_view code, std::string_view text) override;
  void on_format(Format /*format*/) override {}
  void on_position(const StreamPosition& reached) override;
  void on_subscriptions(bool any) override;
  void on_broker(bool up) override;

 protected:
  void last_words(std::string_view reason) override;

 private:
  void begin_stream();
  void refuse(std::string_view code, std::string_view text);

  http::Counters& counters_;
  http::Response head_;
  bool streaming_{};
  bool numbered_{};        ///< what the subscriptions begin with has ids too
  std::size_t waiting_{};  ///< subscriptions that are not begun
};

}  // namespace backplane::gateway::sse
