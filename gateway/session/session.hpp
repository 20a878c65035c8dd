#pragma once
// What the clients of all protocols have in common.

#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "gateway/access/access_counters.hpp"
#include "gateway/encode/encoder.hpp"
#include "gateway/session/line_reader.hpp"
#include "gateway/session/mqtt_counters.hpp"
#include "gateway/session/requests.hpp"
#include "gateway/session/session_counters.hpp"
#include "gateway/session/subscriber.hpp"
#include "gateway/session/topic_directory.hpp"
#include "gateway/session/websocket_counters.hpp"
#include "gateway/session/zmtp_services.hpp"

namespace backplane::gateway::http {
class Site;
}

namespace backplane::gateway {

/// What the sessions of one backplane share. All members outlive the sessions.
struct Services {
  Requests& requests;
  const TopicDirectory& directory;
  LineReader::Limits limits;
  websocket::Counters& websockets;
  SessionCounters& sessions;
  const http::Site* site = nullptr;  ///< nullptr: HTTP is disabled
  AccessCounters* access = nullptr;  ///< nullptr: there is no policy, everybody may do everything
  ZmtpServices* zmtp = nullptr;      ///< nullptr: ZeroMQ clients are not served
  mqtt::Counters* mqtt = nullptr;    ///< nullptr: nothing is counted
};

/// One client. Reports losses, the broker's absence and the reason of a disconnection in the client's format,
/// and forwards requests to the hub. Lives on its worker; owned by its fanout::Client.
class Session : public Subscriber {
 public:
  Session(fanout::Client& client, const Services& services, Format format)
      : client_(client), services_(services), format_(format) {}

  void report_losses(std::span<const fanout::Loss> losses, std::string& out) override {
    services_.directory.report(format_, losses, out);
  }
  /// Counts the reason, and disconnects with close_with_reason().
  void say_goodbye(std::string_view reason) final;
  void on_replies_drained() override { send_request(request::Drained{}); }
  void on_join_buffer_full(fanout::AudienceId audience) override {
    send_request(request::JoinBufferFull{audience});
  }
  void on_broker(bool up) override;

 protected:
  /// Sends the reason as the protocol does, and disconnects the client.
  virtual void close_with_reason(std::string_view reason);
  /// For a client that has closed its sending side and is still served: `nc -N` waits, but a program may also
  /// have closed the connection, which looks the same. Only a write shows the difference. Starts an alarm,
  /// which check_half_closed() serves: after some quiet time, it sends `!KEEPALIVE half_closed`.
  void watch_half_closed();
  void check_half_closed();
  /// For a client with a certificate that TLS has verified, before its first command.
  /// @param certificate its common name; empty: it has none
  void identify(std::string_view certificate) {
    if (services_.access == nullptr || certificate.empty()) return;
    send_request(request::Identify{std::string(certificate)});
  }
  [[nodiscard]] fanout::Client& client() noexcept { return client_; }
  [[nodiscard]] const Services& services() const noexcept { return services_; }
  [[nodiscard]] Format format() const noexcept { return format_; }
  void set_format(Format format) noexcept { format_ = format; }
  /// Sends a request of this client to the hub.
  template <class What>
  void send_request(What what) {
    services_.requests.put({client_.id(), std::move(what)});
  }

 private:
  fanout::Client& client_;
  const Services& services_;
  Format format_;
};

}  // namespace backplane::gateway
