#pragma once
// A ZeroMQ client.

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "core/zmtp/connection.hpp"
#include "gateway/session/session.hpp"

namespace backplane::gateway {

/// One client that speaks ZMTP. A SUB or XSUB subscribes to byte prefixes, and gets events as two frames, the
/// topic and the event. A PUB or XPUB publishes as at the broker's raw endpoint. docs/zmtp.md describes it.
/// Lives on its worker; owned by its fanout::Client.
class ZmtpSession final : public Session, private zmtp::Connection::Listener {
 public:
  /// Replaces the handler of `client`, which calls this; it is destroyed when its call has returned. `bytes`
  /// is what has arrived. `services` outlive the client, and serve ZeroMQ clients.
  static void begin(fanout::Client& client, const Services& services, std::string_view bytes);

  ZmtpSession(fanout::Client& client, const Services& services);

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override { client().end({}); }
  void on_alarm() override { say_goodbye("silent"); }
  /// Only what the client has asked for, on `$SYS.gap.<topic>`.
  void report_losses(std::span<const fanout::Loss> losses, std::string& out) override;
  void on_broker(bool /*up*/) override {}
  void on_echo(std::string_view reply) override;
  void on_refused(std::string_view pattern, std::string_view code, std::string_view text) override;
  void on_authenticated(const Rights& rights, const AccessRefusal& refusal,
                        std::chrono::seconds retry_after) override;
  void on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                    std::string_view text) override;

 protected:
  /// ZMTP has no words for it.
  void close_with_reason(std::string_view /*reason*/) override { client().end({}); }

 private:
  // zmtp::Connection::Listener
  void send(std::string_view bytes) override { client().reply(bytes); }
  void on_credentials(const zmtp::Credentials& credentials) override;
  [[nodiscard]] bool accepts(zmtp::SocketType type) const override;
  void on_ready(const zmtp::Peer& peer) override;
  zmtp::Fault on_subscription(bool subscribe, std::string_view prefix) override;
  zmtp::Fault on_message(std::span<const std::string_view> frames) override;

  void subscribe_to_last(bool subscribe, std::string_view prefix);
  void note_gap_prefix(bool subscribe, std::string_view prefix);
  void count_request();
  void pause_or_resume_input();

  zmtp::Connection connection_;
  std::set<std::string, std::less<>> gap_prefixes_;
  std::uint32_t requests_{};           // since the last echo was requested
  std::uint32_t echoes_{};             // requested, and not returned
  std::uint32_t unpublished_{};        // events that wait for their result
  std::uint32_t unpublished_bytes_{};  // the bytes of their texts
  bool subscribes_{};
};

}  // namespace backplane::gateway
