#pragma once
// A client that speaks MQTT 3.1.1 or 5.0.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/encode/mqtt_message.hpp"
#include "gateway/protocols/mqtt/filters.hpp"
#include "gateway/protocols/mqtt/outgoing.hpp"
#include "gateway/protocols/mqtt/packets/packet.hpp"
#include "gateway/protocols/mqtt/packets/packet_reader.hpp"
#include "gateway/session/session.hpp"

namespace backplane::gateway::mqtt {

/// One client. Its session ends with its connection.
///
/// A client whose subscriptions are all at QoS 0, without further options, gets PUBLISH packets that it
/// shares with all clients of its version. Any other client gets records, from which it makes its own PUBLISH
/// packets when they are written: messages that exceed the client's receive maximum wait in the engine's
/// backlog, within its limit and by its policy.
///
/// A PUBLISH is acknowledged when the broker has admitted the event. Lives on its worker; owned by its
/// fanout::Client.
class MqttSession final : public Session {
 public:
  /// Replaces the handler of `client`, which calls this and is destroyed when its call has returned. `rest`
  /// is what has arrived. `services` outlive the client.
  static void begin(fanout::Client& client, const Services& services, std::string_view rest);

  MqttSession(fanout::Client& client, const Services& services);
  ~MqttSession() override;
  MqttSession(const MqttSession&) = delete;
  MqttSession& operator=(const MqttSession&) = delete;

  void on_bytes(std::string_view bytes) override;
  void on_input_end() override;
  void on_alarm() override;
  void on_replies_drained() override;
  void report_losses(std::span<const fanout::Loss> losses, std::string& out) override;
  fanout::TakeResult rewrite(std::string_view message, std::string& out) override;
  void on_backfill(fanout::Client& client, const std::string& text) override;
  void on_subscribed(std::string_view pattern) override;
  void on_refused(std::string_view pattern, std::string_view code, std::string_view text) override;
  void on_format(Format format) override;
  void on_echo(std::string_view reply) override;
  void on_authenticated(const Rights& rights, const AccessRefusal& refusal,
                        std::chrono::seconds retry_after) override;
  void on_name_claimed() override;
  void on_event_result(std::uint32_t tag, std::size_t bytes, std::string_view code,
                       std::string_view text) override;
  /// Nothing: without a broker, requests wait, and an acknowledgement reports what was not published.
  void on_broker(bool /*up*/) override {}

 protected:
  void close_with_reason(std::string_view reason) override;

 private:
  enum class State : std::uint8_t { awaiting_connect, connecting, connected, ended };
  /// A packet that came before its turn.
  struct EarlyPacket {
    RawPacket raw;
    std::string body;
  };
  /// A SUBSCRIBE that waits for the hub.
  struct PendingSubscribe {
    std::uint16_t packet_id{};
    std::vector<ReasonCode> reasons;
    std::size_t waiting{};
  };
  /// The hub's reply to one pattern of a SUBSCRIBE.
  struct AwaitedPattern {
    std::string filter;
    std::uint64_t subscribe{};  ///< key of its PendingSubscribe
    std::size_t index{};        ///< of the filter in it
    bool is_parent{};           ///< FilterPatterns::parent
    bool is_new{};              ///< the client had no such subscription
  };
  enum class Incoming : std::uint8_t { waiting, admitted };
  /// What only connected clients have.
  struct Connected {
    explicit Connected(std::uint16_t window) noexcept : outgoing(window) {}
    Filters filters;
    Outgoing outgoing;
    std::map<std::uint16_t, Incoming> incoming;  ///< messages of QoS 1 and 2 that are not acknowledged
    std::vector<std::string> aliases;            ///< topics by their alias - 1
    std::map<std::uint64_t, PendingSubscribe> subscribes;
    std::multimap<std::string, AwaitedPattern, std::less<>>
        awaited;  ///< by pattern, in order of the requests
    std::uint64_t last_subscribe{};
    std::string backfill;  ///< records that wait for the client's acknowledgements
    std::size_t backfill_sent{};
    bool hub_waits{};  ///< until the backfill has been sent
    std::string origin;
    std::uint32_t client_packet_max{};  ///< 0: unlimited
  };

  // Connecting.
  bool on_packet(const RawPacket& raw);
  bool on_connect(const RawPacket& raw);
  void begin_connect(const Connect& connect);
  void claim();
  void accept();
  void refuse(ReasonCode reason, std::string_view text);

  // Packets.
  bool dispatch(const RawPacket& raw);
  void handle(const Connect& packet);
  void handle(const Publish& packet);
  void handle(const PublishReply& packet);
  void handle(const Subscribe& packet);
  void handle(const Unsubscribe& packet);
  void handle(const Ping& packet);
  void handle(const Disconnect& packet);
  void handle(const Auth& packet);
  template <class Other>
  void handle(const Other& packet);
  [[nodiscard]] tl::expected<std::string, Fault> resolve_topic(const Publish& packet);
  void refuse_publish(const Publish& packet, const Fault& fault);
  void acknowledge(std::uint16_t packet_id, std::uint8_t qos, ReasonCode reason, std::string_view text);
  void on_released(std::uint16_t packet_id);
  void complete_delivery(std::uint16_t packet_id);
  void subscribe(const TopicRequest& topic, std::uint32_t id, std::uint64_t key, std::size_t index);
  void on_result(std::string_view pattern, ReasonCode reason);
  void end_subscribe(std::uint64_t key);
  void use_records();

  // Delivery.
  bool append_message(const Record& record, std::string& out);
  void send_backfill();
  [[nodiscard]] bool has_backfill() const noexcept {
    return connected_ && connected_->backfill_sent < connected_->backfill.size();
  }

  // Ending.
  void fail(const Fault& fault);
  void disconnect(ReasonCode reason, std::string_view text, std::string_view counted);
  void publish_will();
  void end(std::string_view last_words);

  void send(const Packet& packet);
  template <class Of>
  [[nodiscard]] std::string with_reason(Of packet, std::string_view text) const;
  void pause_or_resume_input();
  void watch_keep_alive();
  [[nodiscard]] bool is_v5() const noexcept { return version_ == Version::v5_0; }

  PacketReader reader_;
  std::unique_ptr<Connected> connected_;
  std::unique_ptr<request::Publish> will_;
  std::unique_ptr<std::deque<EarlyPacket>> early_;
  std::string client_id_;  ///< until the name is claimed
  fanout::Client::Clock::time_point received_at_;
  std::uint32_t unpublished_bytes_{};
  std::uint32_t unpublished_{};
  std::uint32_t client_packet_max_{};
  std::uint32_t requested_expiry_{};
  std::uint16_t keep_alive_{};
  std::uint16_t client_window_{};
  State state_{State::awaiting_connect};
  Version version_{Version::v3_1_1};
  bool assigned_id_{};
  bool records_requested_{};
  bool problem_information_{true};
  bool gap_notices_{};
  bool paused_{};
};

/// The last words for a connection that is refused before it has a session: a CONNACK if `begun` is the
/// beginning of a CONNECT, else nothing.
[[nodiscard]] std::string refuse_connect(std::string_view begun, ReasonCode reason);

/// Whether the first byte belongs to MQTT: a CONNECT.
[[nodiscard]] constexpr bool begins_as_mqtt(std::string_view beginning) noexcept {
  return beginning.starts_with('\x10');
}

}  // namespace backplane::gateway::mqtt
