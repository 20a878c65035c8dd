// MQTT clients at a gateway with a policy.
#include <chrono>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/access/policies.hpp"
#include "tests/gateway/protocols/mqtt/mqtt_stage.hpp"

namespace backplane::gateway::mqtt {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

const std::string policy_text = user_text("anna", "a1", "\"a\"") + user_text("bert", "b1", "\"b\"") +
                                "[users.anonymous]\nroles = [\"open\"]\n"
                                "[roles.a]\npublish = [\"a.>\"]\nsubscribe = [\"a.>\"]\n"
                                "[roles.b]\npublish = [\"b.>\"]\nsubscribe = [\"b.>\"]\n"
                                "[roles.open]\nsubscribe = [\"open\"]\n";

class MqttAccessTest : public MqttStageOn<Stage> {
 protected:
  MqttAccessTest() {
    hub_.use_policy(policy_of(policy_text), {authenticator_, requests_, access_});
    services_.access = &access_;
    come_up();
  }
  /// Connects as a user, and waits for the verdict.
  Peer user(std::string_view name, std::string_view password, std::string_view client_id = "c") {
    Peer peer = connect();
    Connect connect = connect_packet(version_, client_id);
    connect.user_name = name;
    connect.password = password;
    connect.will = will_;
    send_packet(peer, connect);
    const auto limit = std::chrono::steady_clock::now() + 60s;
    while (peer.stream->output.empty() && std::chrono::steady_clock::now() < limit) {
      if (!requests_.empty()) turn();
    }
    return peer;
  }
  Peer accepted(std::string_view name, std::string_view password, std::string_view client_id = "c") {
    Peer peer = user(name, password, client_id);
    EXPECT_EQ(take_one<Connack>(peer).reason, ReasonCode::success);
    return peer;
  }

  AccessCounters access_;
  Authenticator authenticator_{policy_of(policy_text), {}, is_secret_of};
  std::optional<Will> will_;
};

TEST_F(MqttAccessTest, UserAndPasswordAreAToken) {
  accepted("anna", "a1");
  accepted("anna", "anna:a1", "d");
  accepted("", "bert:b1", "e");
  for (const Version version : {Version::v5_0, Version::v3_1_1}) {
    version_ = version;
    Peer peer = user("anna", "wrong");
    EXPECT_EQ(take_one<Connack>(peer).reason, ReasonCode::bad_user_name_or_password);
    EXPECT_TRUE(peer.stream->output_ended);
  }
}

TEST_F(MqttAccessTest, SubscribeIsPermittedByTopic) {
  Peer peer = accepted("anna", "a1");
  EXPECT_THAT(subscribe(peer, {topic("a/#"), topic("b/#"), topic("open"), topic("#")}),
              ElementsAre(ReasonCode::success, ReasonCode::not_authorized, ReasonCode::not_authorized,
                          ReasonCode::success));
  publish("b.x");
  publish("a.x", "1");
  EXPECT_EQ(take_packets(peer).size(), 1u) << "a wildcard hides the rest";
}

TEST_F(MqttAccessTest, PublishIsPermittedByTopic) {
  Peer peer = accepted("anna", "a1");
  send_packet(peer, publish_packet("a/x", "1", 1, 5));
  admit_all();
  EXPECT_EQ(take_one<PublishReply>(peer).reason, ReasonCode::success);
  send_packet(peer, publish_packet("b/x", "1", 1, 6));
  EXPECT_EQ(take_one<PublishReply>(peer).reason, ReasonCode::not_authorized);
  send_packet(peer, publish_packet("b/x", "1", 2, 7));
  EXPECT_EQ(take_one<PublishReply>(peer).reason, ReasonCode::not_authorized);
  EXPECT_EQ(publisher_.state.offered, 1u);
  version_ = Version::v3_1_1;
  peer = accepted("anna", "a1", "three");
  send_packet(peer, publish_packet("b/x", "1", 1, 6));
  EXPECT_TRUE(peer.take().empty());
  EXPECT_TRUE(peer.stream->output_ended) << "3.1.1 cannot refuse otherwise";
}

TEST_F(MqttAccessTest, AWillIsPermittedByTopic) {
  for (const auto& [name, published] : {std::pair{"a/x", true}, {"b/x", false}}) {
    will_.emplace().topic = name;
    will_->payload = "gone";
    Peer peer = accepted("anna", "a1");
    const auto before = publisher_.state.offered;
    shard_.find(peer.id)->abort();
    turn();
    EXPECT_EQ(publisher_.state.offered - before, published ? 1u : 0u) << name;
  }
}

TEST_F(MqttAccessTest, AnotherUserCannotTakeASessionOver) {
  Peer anna = accepted("anna", "a1", "device");
  Peer bert = accepted("bert", "b1", "device");
  EXPECT_FALSE(anna.stream->output_ended);
  EXPECT_FALSE(bert.stream->output_ended);
  Peer again = accepted("anna", "a1", "device");
  EXPECT_TRUE(anna.stream->output_ended);
  EXPECT_FALSE(bert.stream->output_ended);
}

TEST_F(MqttAccessTest, ClientsWithoutCredentialsAreAnonymous) {
  Peer peer = connected();
  EXPECT_THAT(subscribe(peer, {topic("open"), topic("a/x")}),
              ElementsAre(ReasonCode::success, ReasonCode::not_authorized));
}

}  // namespace
}  // namespace backplane::gateway::mqtt
