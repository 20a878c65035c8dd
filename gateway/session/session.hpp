#pragma once
// What the clients of a gateway have in common, whatever they speak.

#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "gateway/encode/encoder.hpp"
#include "gateway/session/line_reader.hpp"
#include "gateway/session/requests.hpp"
#include "gateway/session/session_counters.hpp"
#include "gateway/session/subscriber.hpp"
#include "gateway/session/topic_directory.hpp"
#include "gateway/session/websocket_counters.hpp"

namespace backplane::gateway::http {
class Site;
}

namespace backplane::gateway {

/// What the sessions of one backplane share. All of it outlives them.
struct Services {
  Requests& requests;
  const TopicDirectory& directory;
  LineReader::Limits limits;
  websocket::Counters& websockets;
  SessionCounters& sessions;
  const http::Site* site = nullptr;  ///< none: HTTP is not spoken
};

/// A client that is told in text or JSON lines what it loses and why it is left. Lives on its worker; owned
/// by its fanout::Client.
class Session : public Subscriber {
 public:
  Session(fanout::Client& client, const Services& services, Format format)
      : client_(client), services_(services), format_(format) {}

  void report_losses(std::span<const fanout::Loss> losses, std::string& out) override {
    services_.directory.report(format_, losses, out);
  }
  /// Counts it, and leaves with last_words().
  void say_goodbye(std::string_view reason) final;
  void on_replies_drained() override { ask(request::Drained{}); }
  void on_join_buffer_full(fanout::AudienceId audience) override { ask(request::JoinBufferFull{audience}); }
  void on_broker(bool up) override;

 protected:
  /// Says why in the words of the protocol, and ends the client.
  virtual void last_words(std::string_view reason);
  [[nodiscard]] fanout::Client& client() noexcept { return client_; }
  [[nodiscard]] const Services& services() const noexcept { return services_; }
  [[nodiscard]] Format format() const noexcept { return format_; }
  void set_format(Format format) noexcept { format_ = format; }
  template <class What>
  void ask(What what) {
    services_.requests.put({client_.id(), std::move(what)});
  }

 private:
  fanout::Client& client_;
  const Services& services_;
  Format format_;
};

}  // namespace backplane::gateway
