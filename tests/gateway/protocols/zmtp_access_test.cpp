// ZeroMQ clients at a gateway with a policy.

#include <chrono>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/access/policies.hpp"
#include "tests/gateway/protocols/zmtp_peer.hpp"
#include "tests/gateway/stage.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using namespace zmtp_peer;
using ::testing::ElementsAre;
using ::testing::EndsWith;

std::string text(const std::string& anna = "\"a\"") {
  return user_text("anna", "a1", anna) +
         "[users.anonymous]\nroles = [\"open\"]\n"
         "[roles.a]\npublish = [\"a.>\"]\nsubscribe = [\"a.>\"]\n"
         "[roles.b]\nsubscribe = [\"b.>\"]\n"
         "[roles.open]\nsubscribe = [\"open\"]\n";
}

class ZmtpAccessTest : public Stage {
 protected:
  ZmtpAccessTest() {
    hub_.use_policy(policy_of(text()), {authenticator_, requests_, access_});
    services_.access = &access_;
    come_up();
  }

  /// Sends a name and a password, and waits for the verdict.
  Peer with_password(std::string_view username, std::string_view password) {
    Peer peer = connect();
    std::string data(1, static_cast<char>(username.size()));
    data.append(username).append(1, static_cast<char>(password.size())).append(password);
    send(peer, greeting("PLAIN") + command("HELLO", data));
    const auto limit = std::chrono::steady_clock::now() + 60s;
    while (peer.stream->output.size() <= greeting_bytes && std::chrono::steady_clock::now() < limit) {
      if (!requests_.empty()) turn();
    }
    return peer;
  }
  Peer anna() {
    Peer peer = with_password("anna", "a1");
    EXPECT_THAT(peer.take(), EndsWith(command("WELCOME")));
    send(peer, command("INITIATE", metadata("SUB")));
    peer.take();
    return peer;
  }
  void subscribe(Peer& peer, std::string_view prefix) {
    send(peer, command("SUBSCRIBE", prefix));
    prove();
  }
  void publish_all() {
    for (const char* const topic : {"a.x", "b.x", "open"}) publish(topic);
  }
  static std::vector<std::string> topics(Peer& peer) { return received(peer.take()).topics(); }

  AccessCounters access_;
  Authenticator authenticator_{policy_of(text()), {}, is_secret_of};
};

TEST_F(ZmtpAccessTest, AClientWithoutCredentialsGetsWhatAnonymousMayRead) {
  Peer peer = connect();
  send(peer, hello("SUB"));
  peer.take();
  subscribe(peer, "");
  subscribe(peer, "a.");
  publish_all();
  EXPECT_THAT(topics(peer), ElementsAre("open"));
}

TEST_F(ZmtpAccessTest, AClientWithATokenGetsWhatItsUserMayRead) {
  Peer peer = anna();
  subscribe(peer, "");
  publish_all();
  EXPECT_THAT(topics(peer), ElementsAre("a.x"));
}

TEST_F(ZmtpAccessTest, AWrongTokenIsRefusedWithItsStatus) {
  Peer peer = with_password("anna", "wrong");
  EXPECT_THAT(peer.take(), EndsWith(command("ERROR",
                                            "\x03"
                                            "400")));
  EXPECT_TRUE(peer.stream->output_ended);
  EXPECT_EQ(zmtp_.counters.read().faults[static_cast<std::size_t>(zmtp::Fault::not_authenticated)], 1U);
  Peer malformed = with_password("an na", "");
  EXPECT_THAT(malformed.take(), EndsWith(command("ERROR",
                                                 "\x03"
                                                 "400")));
}

TEST_F(ZmtpAccessTest, OtherRightsChangeWhatAPrefixShows) {
  Peer peer = anna();
  subscribe(peer, "");
  const auto parsed = policy_of(text("\"a\", \"b\""));
  authenticator_.set_policy(parsed);
  hub_.change_policy(parsed);
  turn();
  publish_all();
  EXPECT_THAT(topics(peer), ElementsAre("a.x", "b.x"));
}

TEST_F(ZmtpAccessTest, APubPublishesWhatItsUserMay) {
  Peer peer = connect();
  send(peer, hello("PUB") + message({"a.x", "text"}));
  EXPECT_EQ(publisher_.state.offered, 0U);
  EXPECT_EQ(sessions_.read().refusals[5], 1U) << refusal_codes[5];
  EXPECT_FALSE(peer.stream->output_ended);
}

}  // namespace
}  // namespace backplane::gateway
