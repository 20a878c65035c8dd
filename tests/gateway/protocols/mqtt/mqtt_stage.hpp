#pragma once
// Clients of MQTT on a stage.

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "gateway/encode/mqtt_message.hpp"
#include "gateway/protocols/mqtt/packets/packet.hpp"
#include "gateway/protocols/mqtt/packets/packet_parser.hpp"
#include "gateway/protocols/mqtt/packets/packet_reader.hpp"
#include "tests/gateway/stage.hpp"

namespace backplane::gateway::mqtt {

/// Sends packets, and keeps what the gateway sends. Of received packets, only the written form is kept:
/// compare with bytes().
template <class Base>
class MqttStageOn : public Base {
 protected:
  using Peer = typename Base::Peer;

  static std::string bytes(Version version, const Packet& packet) {
    std::string out;
    append_packet(version, packet, out);
    return out;
  }
  void send_packet(Peer& peer, const Packet& packet) { this->send(peer, bytes(version_, packet)); }

  /// The packets of the output since the last call, each in its bytes. The output consists of whole ones.
  std::vector<std::string> take_packets(Peer& peer) {
    received_.push_back(peer.take());
    PacketReader reader(1u << 20);
    std::vector<std::string> packets;
    const auto fault = reader.read(received_.back(), [&](const RawPacket& raw) {
      const auto packet = parse_packet(version_, raw);
      EXPECT_TRUE(packet) << (packet ? "" : packet.error().text);
      if (packet) packets.push_back(bytes(version_, *packet));
      return true;
    });
    EXPECT_FALSE(fault);
    EXPECT_TRUE(reader.at_boundary());
    return packets;
  }
  /// The first packet of the output since the last call. Its views are valid as long as the stage.
  template <class Of>
  Of take_one(Peer& peer) {
    const auto& output = received_.emplace_back(peer.take());
    PacketReader reader(1u << 20);
    Of result;
    bool found = false;
    (void)reader.read(output, [&](const RawPacket& raw) {
      // The reader's view is into `output`, unless a packet was incomplete.
      const auto packet = parse_packet(version_, raw);
      EXPECT_TRUE(packet);
      if (packet && std::holds_alternative<Of>(*packet)) {
        result = std::get<Of>(*packet);
        found = true;
      }
      return false;
    });
    EXPECT_TRUE(found) << "the first packet is of another type";
    return result;
  }

  static Connect connect_packet(Version version, std::string_view client_id = "c") {
    Connect connect;
    connect.version = version;
    connect.clean_start = true;
    connect.client_id = client_id;
    return connect;
  }
  Peer connected(std::string_view client_id = "c") {
    Peer peer = this->connect();
    send_packet(peer, connect_packet(version_, client_id));
    EXPECT_EQ(take_one<Connack>(peer).reason, ReasonCode::success);
    return peer;
  }
  static Publish publish_packet(std::string_view topic, std::string_view payload, std::uint8_t qos = 0,
                                std::uint16_t id = 0) {
    Publish publish;
    publish.topic = topic;
    publish.payload = payload;
    publish.qos = qos;
    publish.packet_id = id;
    return publish;
  }
  static Subscribe subscribe_packet(std::vector<TopicRequest> topics, std::uint16_t id = 1) {
    Subscribe subscribe;
    subscribe.packet_id = id;
    subscribe.topics = std::move(topics);
    return subscribe;
  }
  static TopicRequest topic(std::string_view filter, std::uint8_t qos = 0) {
    TopicRequest topic;
    topic.filter = filter;
    topic.qos = qos;
    return topic;
  }
  static PublishReply reply_packet(PacketType type, std::uint16_t id,
                                   ReasonCode reason = ReasonCode::success) {
    PublishReply reply;
    reply.type = type;
    reply.packet_id = id;
    reply.reason = reason;
    return reply;
  }
  /// Subscribes to filters that have no retained values, and returns the reasons of the SUBACK.
  std::vector<ReasonCode> subscribe(Peer& peer, std::vector<TopicRequest> topics) {
    send_packet(peer, subscribe_packet(std::move(topics)));
    this->prove();
    end_retained();
    return take_one<SubscribeReply>(peer).reasons;
  }
  /// Ends all requests for retained values.
  void end_retained() {
    while (ended_ < this->upstream_.requests) this->retained_end(++ended_);
  }

  Version version_{Version::v5_0};
  std::uint64_t ended_{};
  std::deque<std::string> received_;
};

}  // namespace backplane::gateway::mqtt
