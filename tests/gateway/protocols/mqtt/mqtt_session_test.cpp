// A client of MQTT on a gateway without threads or sockets.
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/time/duration.hpp"
#include "tests/gateway/protocols/mqtt/mqtt_stage.hpp"

namespace backplane::gateway::mqtt {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class MqttSessionTest : public MqttStageOn<Stage> {
 protected:
  MqttSessionTest() { come_up(); }

  void pass(std::chrono::milliseconds time) {
    now_ += time;
    turn();
  }
  /// An event as a gateway publishes it for an MQTT client.
  static v1::Event mqtt_event(const std::string& text, const Mark& mark) {
    v1::Event event;
    event.set_text(text);
    (*event.mutable_attributes())["mqtt"] = mark_text(mark);
    return event;
  }
  void deliver_mqtt(const std::string& topic, const std::string& text, const Mark& mark) {
    deliver(broker_.publish(topic, mqtt_event(text, mark)));
  }
  bool is_open(const Peer& peer) { return !peer.stream->output_ended; }
};

// ---- connecting ----

TEST_F(MqttSessionTest, ConnackAnnouncesEveryLimit) {
  Peer peer = connect();
  Connect connect = connect_packet(Version::v5_0, "");
  connect.properties.session_expiry = 60;
  send_packet(peer, connect);
  const Connack connack = take_one<Connack>(peer);
  EXPECT_EQ(connack.reason, ReasonCode::success);
  EXPECT_FALSE(connack.session_present);
  EXPECT_EQ(connack.properties.session_expiry, 0u) << "a session ends with its connection";
  EXPECT_EQ(connack.properties.receive_maximum, 256);
  EXPECT_EQ(connack.properties.maximum_packet_size, 2000u + (64u << 10));
  EXPECT_EQ(connack.properties.topic_alias_maximum, 32);
  EXPECT_EQ(connack.properties.shared_subscriptions_available, 0);
  EXPECT_TRUE(connack.properties.assigned_client_id &&
              connack.properties.assigned_client_id->starts_with("auto-"));
  EXPECT_FALSE(connack.properties.maximum_qos) << "2";
}

TEST_F(MqttSessionTest, Version3GetsTwoBytes) {
  version_ = Version::v3_1_1;
  Peer peer = connect();
  send_packet(peer, connect_packet(version_));
  EXPECT_EQ(peer.take(), "\x20\x02\0\0"s);
  EXPECT_EQ(mqtt_.read().connects_3, 1u);
}

TEST_F(MqttSessionTest, ConnectsThatAreRefused) {
  const auto refused = [&](const Connect& connect) {
    version_ = connect.version;
    Peer peer = this->connect();
    send_packet(peer, connect);
    const ReasonCode reason = take_one<Connack>(peer).reason;
    EXPECT_FALSE(is_open(peer));
    return reason;
  };
  Connect connect = connect_packet(Version::v5_0);
  connect.properties.authentication_method = "SCRAM";
  EXPECT_EQ(refused(connect), ReasonCode::bad_authentication_method);
  const std::string long_id(1025, 'x');
  EXPECT_EQ(refused(connect_packet(Version::v5_0, long_id)), ReasonCode::client_identifier_not_valid);
  connect = connect_packet(Version::v3_1_1, "");
  connect.clean_start = false;
  EXPECT_EQ(refused(connect), ReasonCode::client_identifier_not_valid);
  connect = connect_packet(Version::v5_0);
  connect.will.emplace().topic = "a b";
  EXPECT_EQ(refused(connect), ReasonCode::topic_name_invalid);
  EXPECT_EQ(mqtt_.read().refused, 4u);
  version_ = Version::v3_1_1;
  Peer peer = this->connect();
  send(peer, "\x10\x0e\0\4MQTT\3\2\0\x3c\0\2ab"s);
  EXPECT_EQ(peer.take(), "\x20\x02\0\1"s);
  peer = this->connect();
  send(peer, "\x10\x0e\0\6MQIsdp\3\2\0\x3c\0\0"s);
  EXPECT_EQ(peer.take(), "\x20\x02\0\1"s);
  version_ = Version::v5_0;
  peer = this->connect();
  send(peer, "\x10\x0d\0\4MQTT\6\2\0\x3c\0\0\0"s);
  EXPECT_EQ(take_one<Connack>(peer).reason, ReasonCode::unsupported_protocol_version);
}

TEST_F(MqttSessionTest, AConnectThatNeverComesIsEnded) {
  Peer peer = connect();
  send(peer, "\x10");
  pass(9s);
  EXPECT_TRUE(is_open(peer));
  pass(2s);
  EXPECT_FALSE(is_open(peer));
  EXPECT_EQ(peer.take(), "");
}

TEST_F(MqttSessionTest, PacketsBehindConnectAreHandledAfterIt) {
  Peer peer = connect();
  send(peer, bytes(version_, connect_packet(version_)) + bytes(version_, Ping{}) +
                 bytes(version_, publish_packet("a", "x", 1, 7)));
  admit_all();
  const auto packets = take_packets(peer);
  ASSERT_EQ(packets.size(), 3u);
  EXPECT_EQ(packets[1], bytes(version_, Ping{PacketType::pingresp}));
  EXPECT_EQ(packets[2], bytes(version_, reply_packet(PacketType::puback, 7)));
}

TEST_F(MqttSessionTest, ASecondConnectIsAProtocolError) {
  Peer peer = connected();
  send_packet(peer, connect_packet(version_));
  EXPECT_EQ(take_one<Disconnect>(peer).reason, ReasonCode::protocol_error);
  EXPECT_FALSE(is_open(peer));
  EXPECT_EQ(mqtt_.read().protocol_errors, 1u);
}

TEST_F(MqttSessionTest, TheSameClientIdentifierTakesTheSessionOver) {
  Peer first = connected("device");
  Peer second = connected("device");
  EXPECT_EQ(take_one<Disconnect>(first).reason, ReasonCode::session_taken_over);
  EXPECT_FALSE(is_open(first));
  Peer third = connected("other");
  EXPECT_TRUE(is_open(second));
  end_input(second);
  Peer fourth = connected("device");
  EXPECT_TRUE(is_open(fourth));
  EXPECT_EQ(mqtt_.read().taken_over, 1u);
}

TEST_F(MqttSessionTest, KeepAliveIsOneAndAHalfOfTheInterval) {
  Peer peer = connect();
  Connect connect = connect_packet(version_);
  connect.keep_alive = 10;
  send_packet(peer, connect);
  peer.take();
  pass(14s);
  send_packet(peer, Ping{});
  EXPECT_EQ(take_packets(peer).size(), 1u);
  pass(14s);
  EXPECT_TRUE(is_open(peer));
  pass(2s);
  EXPECT_EQ(take_one<Disconnect>(peer).reason, ReasonCode::keep_alive_timeout);
  EXPECT_FALSE(is_open(peer));
}

TEST_F(MqttSessionTest, AFaultEndsVersion3WithoutAReply) {
  version_ = Version::v3_1_1;
  Peer peer = connected();
  send(peer, "\x30\x05\0\3\xed\xa0\x80"s);
  EXPECT_EQ(peer.take(), "");
  EXPECT_FALSE(is_open(peer));
  EXPECT_EQ(mqtt_.read().malformed, 1u);
}

TEST_F(MqttSessionTest, FaultsHaveTheirReasonInVersion5) {
  const auto reason = [&](std::string_view sent) {
    Peer peer = connected();
    send(peer, sent);
    const ReasonCode code = take_one<Disconnect>(peer).reason;
    EXPECT_FALSE(is_open(peer));
    return code;
  };
  EXPECT_EQ(reason("\x30\x05\0\3\xed\xa0\x80"s), ReasonCode::malformed_packet);
  EXPECT_EQ(reason("\xc0\x80\x80\x80\x80\x01"s), ReasonCode::malformed_packet);
  EXPECT_EQ(reason("\x30\xff\xff\xff\x7f"s), ReasonCode::packet_too_large);
  EXPECT_EQ(reason("\x30\x05\0\1#\0x"s), ReasonCode::topic_name_invalid);
  EXPECT_EQ(reason("\x30\x07\0\0\3\x23\0\5x"s), ReasonCode::protocol_error) << "an unknown topic alias";
  EXPECT_EQ(reason("\x30\x07\0\1a\3\x23\0\x21"s), ReasonCode::topic_alias_invalid);
  EXPECT_EQ(reason("\x30\x06\0\1a\2\x0b\5"s), ReasonCode::protocol_error) << "a subscription identifier";
  EXPECT_EQ(reason("\x20\x03\0\0\0"s), ReasonCode::protocol_error) << "CONNACK is for servers";
  EXPECT_EQ(reason("\xd0\0"s), ReasonCode::protocol_error);
  EXPECT_EQ(reason("\xf0\x06\x18\4\x15\0\1m"s), ReasonCode::protocol_error) << "AUTH without a method";
  EXPECT_EQ(reason("\xe0\x07\0\5\x11\0\0\0\1"s), ReasonCode::protocol_error)
      << "a session that begins at its end";
}

// ---- publishing ----

TEST_F(MqttSessionTest, Qos0IsPublished) {
  Peer peer = connected();
  send_packet(peer, publish_packet("sensor/kitchen", "21.5"));
  EXPECT_EQ(publisher_.last_topic, "sensor.kitchen");
  EXPECT_EQ(publisher_.last_text, "21.5");
  EXPECT_EQ(publisher_.last_parts.payload, EventParts::Payload::text);
  EXPECT_THAT(publisher_.last_parts.attributes, ElementsAre(std::pair("mqtt"s, "qos=0"s)));
  admit_all();
  EXPECT_THAT(take_packets(peer), IsEmpty());
}

TEST_F(MqttSessionTest, Qos1IsAcknowledgedOnAdmission) {
  Peer peer = connected();
  send_packet(peer, publish_packet("a", "x", 1, 7));
  EXPECT_THAT(take_packets(peer), IsEmpty());
  admit_all();
  EXPECT_THAT(take_packets(peer), ElementsAre(bytes(version_, reply_packet(PacketType::puback, 7))));
}

TEST_F(MqttSessionTest, Qos2IsPublishedOnce) {
  Peer peer = connected();
  Publish publish = publish_packet("a", "x", 2, 7);
  send_packet(peer, publish);
  admit_all();
  const std::string pubrec = bytes(version_, reply_packet(PacketType::pubrec, 7));
  EXPECT_THAT(take_packets(peer), ElementsAre(pubrec));
  publish.duplicate = true;
  send_packet(peer, publish);
  EXPECT_THAT(take_packets(peer), ElementsAre(pubrec));
  EXPECT_EQ(publisher_.state.offered, 1u);
  send_packet(peer, reply_packet(PacketType::pubrel, 7));
  EXPECT_THAT(take_packets(peer), ElementsAre(bytes(version_, reply_packet(PacketType::pubcomp, 7))));
  send_packet(peer, reply_packet(PacketType::pubrel, 7));
  EXPECT_EQ(take_one<PublishReply>(peer).reason, ReasonCode::packet_identifier_not_found);
  send_packet(peer, publish_packet("a", "y", 2, 7));
  EXPECT_EQ(publisher_.state.offered, 2u) << "the identifier is free again";
}

TEST_F(MqttSessionTest, ATopicThatCannotBeMappedIsRefusedWithItsReason) {
  Peer peer = connected();
  send_packet(peer, publish_packet("a//b", "x", 1, 7));
  EXPECT_EQ(take_one<PublishReply>(peer).reason, ReasonCode::topic_name_invalid);
  send_packet(peer, publish_packet("a b", "x", 2, 8));
  const auto reply = take_one<PublishReply>(peer);
  EXPECT_EQ(reply.type, PacketType::pubrec);
  EXPECT_EQ(reply.reason, ReasonCode::topic_name_invalid);
  EXPECT_TRUE(is_open(peer));
  send_packet(peer, publish_packet("a.b", "x"));
  EXPECT_EQ(take_one<Disconnect>(peer).reason, ReasonCode::topic_name_invalid);
  EXPECT_EQ(publisher_.state.offered, 0u);
  version_ = Version::v3_1_1;
  peer = connected();
  send_packet(peer, publish_packet("/a", "x", 1, 7));
  EXPECT_THAT(take_packets(peer), IsEmpty());
  EXPECT_FALSE(is_open(peer));
}

TEST_F(MqttSessionTest, PropertiesBecomeAttributes) {
  Peer peer = connected();
  Publish publish = publish_packet("a", "\xff", 1, 7);
  publish.retain = true;
  publish.properties.content_type = "application/octet-stream";
  publish.properties.response_topic = "reply/to";
  publish.properties.correlation_data = "\0\xff"s;
  publish.properties.user_properties = {{"k", "1"}, {"k", "2"}, {"", "empty"}};
  const std::string correlation = "\0\xff"s;
  publish.properties.correlation_data = correlation;
  send_packet(peer, publish);
  EXPECT_EQ(publisher_.last_parts.payload, EventParts::Payload::bytes);
  EXPECT_THAT(publisher_.last_parts.attributes,
              ElementsAre(std::pair("mqtt"s, "qos=1 retain"s),
                          std::pair("content_type"s, "application/octet-stream"s),
                          std::pair("response_topic"s, "reply.to"s), std::pair("correlation_data"s, "AP8="s),
                          std::pair("k"s, "1"s), std::pair("k"s, "2"s), std::pair("mqtt."s, "empty"s)));
}

TEST_F(MqttSessionTest, AnEmptyRetainedMessageClearsTheValue) {
  Peer peer = connected();
  Publish publish = publish_packet("a", "", 1, 7);
  publish.retain = true;
  send_packet(peer, publish);
  EXPECT_EQ(publisher_.last_parts.payload, EventParts::Payload::none);
}

TEST_F(MqttSessionTest, APayloadThatIsNotWhatItsFormatSaysIsRefused) {
  Peer peer = connected();
  Publish publish = publish_packet("a", "\xff", 1, 7);
  publish.properties.payload_format = 1;
  send_packet(peer, publish);
  EXPECT_EQ(take_one<PublishReply>(peer).reason, ReasonCode::payload_format_invalid);
}

TEST_F(MqttSessionTest, TopicAliasesStandForTopics) {
  Peer peer = connected();
  Publish publish = publish_packet("a/b", "1");
  publish.properties.topic_alias = 32;
  send_packet(peer, publish);
  publish.topic = "";
  publish.payload = "2";
  send_packet(peer, publish);
  EXPECT_EQ(publisher_.last_topic, "a.b");
  EXPECT_EQ(publisher_.last_text, "2");
  publish.topic = "c";
  send_packet(peer, publish);
  publish.topic = "";
  send_packet(peer, publish);
  EXPECT_EQ(publisher_.last_topic, "c");
  EXPECT_EQ(publisher_.state.offered, 4u);
}

TEST_F(MqttSessionTest, MoreThanTheReceiveMaximumIsAnError) {
  Peer peer = connected();
  for (std::uint16_t id = 1; id <= 256; ++id) send_packet(peer, publish_packet("a", "x", 2, id));
  EXPECT_TRUE(is_open(peer));
  send_packet(peer, publish_packet("a", "x", 1, 257));
  EXPECT_EQ(take_one<Disconnect>(peer).reason, ReasonCode::receive_maximum_exceeded);
}

TEST_F(MqttSessionTest, AnIdentifierInUseIsRefused) {
  Peer peer = connected();
  send_packet(peer, publish_packet("a", "x", 1, 7));
  send_packet(peer, publish_packet("a", "y", 1, 7));
  EXPECT_EQ(take_one<PublishReply>(peer).reason, ReasonCode::packet_identifier_in_use);
  EXPECT_EQ(publisher_.state.offered, 1u);
}

// ---- wills ----

TEST_F(MqttSessionTest, AWillIsPublishedUnlessTheClientDisconnects) {
  const auto offered_after = [&](auto end) {
    publisher_.last_topic.clear();
    Peer peer = connect();
    Connect connect = connect_packet(version_);
    Will& will = connect.will.emplace();
    will.topic = "status/c";
    will.payload = "gone";
    will.retain = true;
    send_packet(peer, connect);
    peer.take();
    EXPECT_EQ(publisher_.last_topic, "");
    end(peer);
    turn();
    return publisher_.last_topic;
  };
  EXPECT_EQ(offered_after([&](Peer& peer) { end_input(peer); }), "status.c");
  EXPECT_EQ(publisher_.last_text, "gone");
  EXPECT_THAT(publisher_.last_parts.attributes, ElementsAre(std::pair("mqtt"s, "qos=0 retain"s)));
  EXPECT_EQ(offered_after([&](Peer& peer) { send_packet(peer, Disconnect{}); }), "");
  EXPECT_EQ(offered_after([&](Peer& peer) {
              send_packet(peer, Disconnect{ReasonCode::disconnect_with_will, {}});
            }),
            "status.c");
  EXPECT_EQ(offered_after([&](Peer& peer) { send(peer, std::string(2, '\0')); }), "status.c")
      << "after a fault";
  EXPECT_EQ(offered_after([&](Peer&) { (void)connected(); }), "status.c") << "taken over";
  EXPECT_EQ(offered_after([&](Peer& peer) { shard_.find(peer.id)->abort(); }), "status.c")
      << "a network error";
  EXPECT_EQ(mqtt_.read().wills, 5u);
}

// ---- subscribing, at QoS 0 ----

TEST_F(MqttSessionTest, EventsArriveAsSharedPackets) {
  Peer one = connected("one");
  Peer two = connected("two");
  EXPECT_THAT(subscribe(one, {topic("stock/+")}), ElementsAre(ReasonCode::success));
  EXPECT_THAT(subscribe(two, {topic("stock/#")}), ElementsAre(ReasonCode::success));
  const std::uint64_t before = outlet_.appended;
  publish("stock.MSFT", "39.81");
  EXPECT_EQ(outlet_.appended, before + 1);
  Publish expected = publish_packet("stock/MSFT", "39.81");
  expected.properties.payload_format = 1;
  EXPECT_THAT(take_packets(one), ElementsAre(bytes(version_, expected)));
  EXPECT_THAT(take_packets(two), ElementsAre(bytes(version_, expected)));
  publish("other");
  EXPECT_THAT(take_packets(one), IsEmpty());
}

TEST_F(MqttSessionTest, Version3GetsNoProperties) {
  version_ = Version::v3_1_1;
  Peer peer = connected();
  EXPECT_THAT(subscribe(peer, {topic("a")}), ElementsAre(ReasonCode::success));
  publish("a", "x");
  EXPECT_EQ(peer.take(), "\x30\x04\0\1ax"s);
}

TEST_F(MqttSessionTest, AMultiLevelWildcardMatchesTheParent) {
  Peer peer = connected();
  subscribe(peer, {topic("a/#")});
  publish("a", "1");
  publish("a.b", "2");
  publish("ab", "3");
  EXPECT_EQ(take_packets(peer).size(), 2u);
}

TEST_F(MqttSessionTest, FiltersThatAreNotAcceptedHaveTheirReason) {
  Peer peer = connected();
  EXPECT_THAT(subscribe(peer, {topic("$share/g/a"), topic("a//b"), topic("ok"), topic("a.b")}),
              ElementsAre(ReasonCode::shared_subscriptions_not_supported, ReasonCode::topic_filter_invalid,
                          ReasonCode::success, ReasonCode::topic_filter_invalid));
  version_ = Version::v3_1_1;
  peer = connected();
  EXPECT_THAT(subscribe(peer, {topic("$share/g/a"), topic("ok")}),
              ElementsAre(ReasonCode::unspecified_error, ReasonCode::success));
}

TEST_F(MqttSessionTest, UnsubscribingEndsOnlyThatFilter) {
  Peer peer = connected();
  subscribe(peer, {topic("a"), topic("a/#")});
  Unsubscribe unsubscribe;
  unsubscribe.packet_id = 9;
  unsubscribe.filters = {"a/#", "unknown"};
  send_packet(peer, unsubscribe);
  const auto unsuback = take_one<SubscribeReply>(peer);
  EXPECT_EQ(unsuback.packet_id, 9);
  EXPECT_THAT(unsuback.reasons, ElementsAre(ReasonCode::success, ReasonCode::no_subscription_existed));
  publish("a.b");
  publish("a", "x");
  EXPECT_EQ(take_packets(peer).size(), 1u) << "the filter a is still there";
}

TEST_F(MqttSessionTest, TopicsThatMqttCannotNameAreNotDelivered) {
  Peer peer = connected();
  subscribe(peer, {topic("#")});
  publish("a/b");
  publish("$SYS.x");
  EXPECT_THAT(take_packets(peer), IsEmpty());
}

// ---- retained messages ----

TEST_F(MqttSessionTest, RetainedValuesComeFirstWithTheirFlag) {
  Peer peer = connected();
  const auto native = broker_.publish("a.x", "1");
  const auto kept = broker_.publish("a.y", mqtt_event("2", {0, true, false, std::nullopt, ""}));
  const auto passing = broker_.publish("a.z", mqtt_event("3", {0, false, false, std::nullopt, ""}));
  send_packet(peer, subscribe_packet({topic("a/+")}));
  prove();
  for (const auto& each : {native, kept, passing}) retained(upstream_.requests, each);
  retained_end(upstream_.requests);
  const auto packets = take_packets(peer);
  ASSERT_EQ(packets.size(), 3u) << "SUBACK, and what is retained";
  for (const auto& [index, name, text] : {std::tuple{1u, "a/x", "1"}, {2u, "a/y", "2"}}) {
    Publish expected = publish_packet(name, text);
    expected.retain = true;
    if (index == 1) expected.properties.payload_format = 1;  // the other publisher has not said so
    EXPECT_EQ(packets[index], bytes(version_, expected));
  }
  publish("a.x", "4");
  EXPECT_FALSE(take_one<Publish>(peer).retain);
}

TEST_F(MqttSessionTest, RetainHandlingIsObeyed) {
  Peer peer = connected();
  const auto asked = [&](TopicRequest::RetainHandling handling) {
    TopicRequest request = topic("a");
    request.retain_handling = handling;
    const auto before = upstream_.requests;
    subscribe(peer, {request});
    return upstream_.requests - before;
  };
  using RetainHandling = TopicRequest::RetainHandling;
  EXPECT_EQ(asked(RetainHandling::do_not_send), 0u);
  EXPECT_EQ(asked(RetainHandling::send_if_new), 0u) << "it is not new";
  EXPECT_EQ(asked(RetainHandling::send), 1u);
}

TEST_F(MqttSessionTest, ExpiredMessagesAreNotDelivered) {
  Peer peer = connected();
  subscribe(peer, {topic("a")});
  deliver_mqtt("a", "late", {0, false, false, 0, ""});  // the broker's time is 0 in these tests
  EXPECT_THAT(take_packets(peer), IsEmpty());
  deliver_mqtt("a", "x", {0, false, false, 60, ""});
  EXPECT_EQ(take_one<Publish>(peer).properties.message_expiry, 60u);
}

// ---- QoS 1 and 2, and options ----

TEST_F(MqttSessionTest, DeliveryHasTheLowerQos) {
  Peer peer = connected();
  EXPECT_THAT(subscribe(peer, {topic("a", 2), topic("b", 1)}),
              ElementsAre(ReasonCode::granted_qos_2, ReasonCode::granted_qos_1));
  deliver_mqtt("a", "0", {0, false, false, std::nullopt, ""});
  deliver_mqtt("a", "1", {1, false, false, std::nullopt, ""});
  deliver_mqtt("a", "2", {2, false, false, std::nullopt, ""});
  publish("b", "native");
  std::vector<int> levels;
  std::vector<std::uint16_t> ids;
  PacketReader reader(1u << 20);
  (void)reader.read(received_.emplace_back(peer.take()), [&](const RawPacket& raw) {
    const auto parsed = parse_packet(version_, raw);
    const auto& each = std::get<Publish>(*parsed);
    levels.push_back(each.qos);
    ids.push_back(each.packet_id);
    return true;
  });
  EXPECT_THAT(levels, ElementsAre(0, 1, 2, 1));
  EXPECT_THAT(ids, ElementsAre(0, 1, 2, 3));
}

TEST_F(MqttSessionTest, MessagesWaitForTheReceiveMaximum) {
  Peer peer = connect();
  Connect connect = connect_packet(version_);
  connect.properties.receive_maximum = 2;
  send_packet(peer, connect);
  peer.take();
  subscribe(peer, {topic("a", 1)});
  for (const char* text : {"1", "2", "3", "4"}) publish("a", text);
  EXPECT_EQ(take_packets(peer).size(), 2u);
  send_packet(peer, Ping{});
  EXPECT_EQ(take_packets(peer).size(), 1u) << "a reply does not wait";
  send_packet(peer, reply_packet(PacketType::puback, 1));
  EXPECT_EQ(take_one<Publish>(peer).payload, "3");
  send_packet(peer, reply_packet(PacketType::puback, 1));
  EXPECT_EQ(take_one<Publish>(peer).payload, "4") << "the identifier was used again";
  send_packet(peer, reply_packet(PacketType::puback, 77));
  EXPECT_TRUE(is_open(peer)) << "an identifier that is not in use is ignored";
}

TEST_F(MqttSessionTest, Qos2IsDeliveredInTwoSteps) {
  Peer peer = connected();
  subscribe(peer, {topic("a", 2)});
  publish("a", "x");
  EXPECT_EQ(take_one<Publish>(peer).qos, 2);
  send_packet(peer, reply_packet(PacketType::pubrec, 1));
  const std::string pubrel = bytes(version_, reply_packet(PacketType::pubrel, 1));
  EXPECT_THAT(take_packets(peer), ElementsAre(pubrel));
  send_packet(peer, reply_packet(PacketType::pubrec, 1));
  EXPECT_THAT(take_packets(peer), ElementsAre(pubrel));
  send_packet(peer, reply_packet(PacketType::pubcomp, 1));
  EXPECT_THAT(take_packets(peer), IsEmpty());
  send_packet(peer, reply_packet(PacketType::pubrec, 5));
  EXPECT_EQ(take_one<PublishReply>(peer).reason, ReasonCode::packet_identifier_not_found);
}

TEST_F(MqttSessionTest, RetainedValuesAtQos1WaitForTheReceiveMaximum) {
  Peer peer = connect();
  Connect connect = connect_packet(version_);
  connect.properties.receive_maximum = 1;
  send_packet(peer, connect);
  peer.take();
  const auto first = broker_.publish("a.x", "1");
  const auto second = broker_.publish("a.y", "2");
  send_packet(peer, subscribe_packet({topic("a/+", 1)}));
  prove();
  retained(upstream_.requests, first);
  retained(upstream_.requests, second);
  retained_end(upstream_.requests);
  publish("a.x", "3");
  EXPECT_EQ(take_packets(peer).size(), 2u) << "SUBACK and one value";
  send_packet(peer, reply_packet(PacketType::puback, 1));
  Publish next = take_one<Publish>(peer);
  EXPECT_EQ(next.payload, "2");
  EXPECT_TRUE(next.retain);
  send_packet(peer, reply_packet(PacketType::puback, next.packet_id));
  next = take_one<Publish>(peer);
  EXPECT_EQ(next.payload, "3");
  EXPECT_FALSE(next.retain);
}

TEST_F(MqttSessionTest, SubscriptionIdentifiersOfAllMatchesAreSent) {
  Peer peer = connected();
  Subscribe request = subscribe_packet({topic("a/b", 0)});
  request.properties.subscription_ids = {7};
  send_packet(peer, request);
  request = subscribe_packet({topic("a/#", 1)});
  request.properties.subscription_ids = {300};
  send_packet(peer, request);
  prove();
  end_retained();
  peer.take();
  publish("a.b", "x");
  const Publish message = take_one<Publish>(peer);
  EXPECT_THAT(message.properties.subscription_ids, ElementsAre(300u, 7u));
  EXPECT_EQ(message.qos, 1) << "the highest of both";
  EXPECT_THAT(take_packets(peer), IsEmpty()) << "once";
}

TEST_F(MqttSessionTest, NoLocalLeavesOutOwnMessages) {
  Peer peer = connected();
  TopicRequest request = topic("a");
  request.no_local = true;
  subscribe(peer, {request});
  send_packet(peer, publish_packet("a", "own"));
  const std::string mark = publisher_.last_parts.attributes.at(0).second;
  const Mark own = parse_mark(mark);
  EXPECT_FALSE(own.origin.empty());
  deliver_mqtt("a", "own", own);
  EXPECT_THAT(take_packets(peer), IsEmpty());
  deliver_mqtt("a", "other", {0, false, false, std::nullopt, "someone"});
  EXPECT_EQ(take_one<Publish>(peer).payload, "other");
}

TEST_F(MqttSessionTest, RetainAsPublishedKeepsTheFlag) {
  Peer peer = connected();
  TopicRequest request = topic("a");
  request.retain_as_published = true;
  subscribe(peer, {request});
  deliver_mqtt("a", "1", {0, true, false, std::nullopt, ""});
  EXPECT_TRUE(take_one<Publish>(peer).retain);
  deliver_mqtt("a", "2", {0, false, false, std::nullopt, ""});
  EXPECT_FALSE(take_one<Publish>(peer).retain);
}

TEST_F(MqttSessionTest, PacketsAboveTheClientsMaximumAreLeftOut) {
  Peer peer = connect();
  Connect connect = connect_packet(version_);
  connect.properties.maximum_packet_size = 60;
  send_packet(peer, connect);
  peer.take();
  subscribe(peer, {topic("a")});
  publish("a", std::string(100, 'x'));
  publish("a", "short");
  EXPECT_EQ(take_one<Publish>(peer).payload, "short");
  EXPECT_EQ(mqtt_.read().not_delivered, 1u);
}

TEST_F(MqttSessionTest, MessagesThatExpireWhileTheyWaitAreNotDelivered) {
  Peer peer = connected();
  subscribe(peer, {topic("a", 1)});
  const std::int64_t now_s = unix_now_ns() / 1'000'000'000;
  deliver_mqtt("a", "late", {1, false, false, now_s - 1, ""});
  deliver_mqtt("a", "x", {1, false, false, now_s + 1000, ""});
  const Publish message = take_one<Publish>(peer);
  EXPECT_EQ(message.payload, "x");
  EXPECT_GT(message.properties.message_expiry, 900u);
  EXPECT_LE(message.properties.message_expiry, 1000u);
}

TEST_F(MqttSessionTest, ReasonsForPeopleAreWithinTheClientsMaximum) {
  Peer peer = connect();
  Connect connect = connect_packet(version_);
  connect.properties.maximum_packet_size = 30;
  send_packet(peer, connect);
  peer.take();
  send_packet(peer, publish_packet("a b", "x", 1, 7));
  const auto reply = take_one<PublishReply>(peer);
  EXPECT_EQ(reply.reason, ReasonCode::topic_name_invalid);
  EXPECT_FALSE(reply.properties.reason_string);
  Peer other = this->connect();
  connect = connect_packet(version_, "other");
  connect.properties.request_problem_information = 0;
  send_packet(other, connect);
  other.take();
  send_packet(other, publish_packet("a b", "x", 1, 7));
  EXPECT_FALSE(take_one<PublishReply>(other).properties.reason_string);
}

TEST_F(MqttSessionTest, GapsAreMessagesOfTheirOwnTopic) {
  Peer peer = connected();
  subscribe(peer, {topic("$SYS/gap"), topic("a")});
  publish("a", "1");
  peer.take();
  Gap lost;
  lost.topic = "a";
  lost.stream = broker_.stream();
  lost.first = 2;
  lost.last = 3;
  lost.position = 3;
  hub_.on_gap(lost);
  turn();
  const Publish gap = take_one<Publish>(peer);
  EXPECT_EQ(gap.topic, "$SYS/gap");
  EXPECT_TRUE(gap.payload.starts_with(R"({"gap":{"topic":"a")")) << gap.payload;
}

}  // namespace
}  // namespace backplane::gateway::mqtt
