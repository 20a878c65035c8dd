#include "core/zmtp/connection.hpp"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/zmtp/frame.hpp"
#include "tests/core/zmtp/recording_listener.hpp"
#include "tests/golden/golden.hpp"

namespace backplane::zmtp {
namespace {

using namespace std::string_literals;

using Subscriptions = std::vector<std::pair<bool, std::string>>;

std::string greeting(std::string_view mechanism = "NULL", int minor = 1, int as_server = 0) {
  std::string bytes = "\xff\0\0\0\0\0\0\0\x01\x7f\x03"s;
  bytes.push_back(static_cast<char>(minor));
  bytes.append(mechanism).append(20 - mechanism.size(), '\0');
  bytes.push_back(static_cast<char>(as_server));
  return bytes.append(31, '\0');
}

std::string command(std::string_view name, std::string_view data = {}) {
  std::string bytes;
  append_command(name, data, bytes);
  return bytes;
}

std::string message(std::vector<std::string_view> frames) {
  std::string bytes;
  append_message(frames, bytes);
  return bytes;
}

std::string metadata(std::string_view type, std::string_view identity = {}) {
  std::string data;
  append_property("Socket-Type", type, data);
  append_property("Identity", identity, data);
  return data;
}

std::string ready(std::string_view type) {
  return command("READY", metadata(type));
}

TEST(Connection, ReadsAndWritesTheGoldenBytes) {
  const std::string in = golden::bytes("zmtp_sub.hex");
  const std::string out = golden::bytes("zmtp_sub_replies.hex");
  for (const std::size_t piece : {1UL, 5UL, 64UL, in.size()}) {
    Recorded peer;
    EXPECT_EQ(peer.read(in, piece), Fault::none);
    EXPECT_EQ(peer.listener.subscriptions, (Subscriptions{{true, "stock."}, {false, "stock."}}));
    const std::vector<std::string_view> event{"stock.MSFT", "payload"};
    peer.connection.send_message(event);
    EXPECT_EQ(peer.listener.sent, out) << "in pieces of " << piece;
    ASSERT_TRUE(peer.listener.peer);
    EXPECT_EQ(peer.listener.peer->version, (Version{3, 1}));
    EXPECT_EQ(peer.listener.peer->type, SocketType::sub);
  }
}

TEST(Connection, SendsItsVersionBeforeThePeerHasSentIts) {
  Recorded peer;
  EXPECT_EQ(peer.read(greeting().substr(0, 10)), Fault::none);
  EXPECT_EQ(peer.listener.sent, greeting().substr(0, 11));
  EXPECT_EQ(peer.read(greeting().substr(10)), Fault::none);
  EXPECT_EQ(peer.listener.sent, greeting());
}

TEST(Connection, ASubscriptionOfVersion30IsAMessage) {
  Recorded peer;
  EXPECT_EQ(peer.read(greeting("NULL", 0) + ready("XSUB") + message({"\x01"}) +
                      message({"\x01"
                               "a.b"}) +
                      message({"\0a.b"s})),
            Fault::none);
  EXPECT_EQ(peer.listener.subscriptions, (Subscriptions{{true, ""}, {true, "a.b"}, {false, "a.b"}}));
  EXPECT_EQ(peer.listener.peer->version, (Version{3, 0}));
}

TEST(Connection, APeerOfVersion20HasASocketTypeAndAnIdentity) {
  Recorded peer;
  EXPECT_EQ(peer.read("\xff\0\0\0\0\0\0\0\x01\x7f\x01\x02"s, 1), Fault::none);
  EXPECT_EQ(peer.listener.sent, "\xff\0\0\0\0\0\0\0\x01\x7f\x03\x09\0\0"s) << "XPUB, and no identity";
  EXPECT_EQ(peer.read("\0\x02me\0\x03\x01"
                      "a."s,
                      1),
            Fault::none);
  EXPECT_EQ(peer.listener.subscriptions, (Subscriptions{{true, "a."}}));
  EXPECT_EQ(peer.listener.peer->version, (Version{2, 0}));
  EXPECT_EQ(peer.listener.identity, "me");
  EXPECT_EQ(peer.read(command("PING", "\0\0"s)), Fault::bad_frame) << "2.0 has no commands";

  Recorded refused(Connection::Options{.old_peers = false});
  EXPECT_EQ(refused.read("\xff\0\0\0\0\0\0\0\x01\x7f\x01\x02"s), Fault::old_version);
}

TEST(Connection, SubscribesToAPublisherInTheFormOfItsVersion) {
  for (const int minor : {0, 1}) {
    Recorded peer;
    EXPECT_EQ(peer.read(greeting("NULL", minor) + ready("PUB") + message({"topic", "payload"})), Fault::none);
    std::string own_metadata;
    append_property("Socket-Type", "XSUB", own_metadata);
    EXPECT_EQ(peer.listener.sent, greeting() + command("READY", own_metadata) +
                                      (minor == 0 ? message({"\x01"}) : command("SUBSCRIBE")));
    EXPECT_EQ(peer.listener.messages, (std::vector<Frames>{{"topic", "payload"}}));
  }
}

TEST(Connection, PlainAsksForTheNameBeforeItReadsTheRest) {
  Recorded peer;
  bool asked = false;
  peer.listener.decide = [&] { asked = true; };
  EXPECT_EQ(peer.read(greeting("PLAIN") + command("HELLO",
                                                  "\x05"
                                                  "alice\x06secret")),
            Fault::none);
  EXPECT_TRUE(asked);
  EXPECT_EQ(peer.listener.credentials, std::vector<std::string>{"PLAIN alice secret"});
  EXPECT_EQ(peer.listener.sent, greeting("PLAIN", 1, 1));
  peer.connection.accept();
  EXPECT_EQ(peer.listener.sent, greeting("PLAIN", 1, 1) + command("WELCOME"));
  EXPECT_EQ(peer.read(command("INITIATE", metadata("DEALER", "worker"))), Fault::none);
  EXPECT_TRUE(peer.connection.is_ready());
  EXPECT_EQ(peer.listener.identity, "worker");
}

TEST(Connection, APeerThatIsRefusedReadsWhy) {
  Recorded peer;
  peer.listener.decide = [&] { peer.connection.refuse("400"); };
  EXPECT_EQ(peer.read(greeting("PLAIN") + command("HELLO", "\x01x\x01y")), Fault::not_authenticated);
  EXPECT_EQ(peer.listener.sent, greeting("PLAIN", 1, 1) + command("ERROR",
                                                                  "\x03"
                                                                  "400"));
  EXPECT_EQ(peer.read(command("INITIATE", metadata("SUB"))), Fault::not_authenticated);
}

TEST(Connection, NothingMayComeWhileThePeerIsBeingDecidedAbout) {
  Recorded peer;
  peer.listener.decide = [] {};
  EXPECT_EQ(
      peer.read(greeting("PLAIN") + command("HELLO", "\x01x\x01y") + command("INITIATE", metadata("SUB"))),
      Fault::unexpected_command);
}

TEST(Connection, AMechanismThatIsNotAcceptedIsAnsweredByOneThatIs) {
  Recorded peer(Connection::Options{.plain = false});
  EXPECT_EQ(peer.read(greeting("PLAIN")), Fault::bad_mechanism);
  EXPECT_EQ(peer.listener.sent, greeting("NULL"));
  for (const std::string_view mechanism : {"CURVE", "GSSAPI", "NULLX", "null", ""}) {
    Recorded other;
    EXPECT_EQ(other.read(greeting(mechanism)), Fault::bad_mechanism) << mechanism;
  }
  EXPECT_EQ(Recorded().read(greeting("NULL\0X"s)), Fault::bad_mechanism)
      << "there is something behind the name";
  EXPECT_EQ(Recorded().read(greeting("PLAIN", 1, 1)), Fault::bad_greeting) << "two servers";
}

TEST(Connection, WhatIsNoGreetingIsRefusedAtTheFirstWrongByte) {
  const std::vector<std::pair<std::string, Fault>> cases = {
      {"\x01"s, Fault::bad_greeting},                     // ZMTP 1.0 without a long identity
      {"\xff\0\0\0\0\0\0\0\x01\0"s, Fault::old_version},  // ZMTP 1.0 with one
      {"\xff\0\0\0\0\0\0\0\x01\x01"s, Fault::bad_greeting},
      {"\xff\0\0\0\0\0\0\0\x01\x7f\0"s, Fault::old_version},
      {"\xff\0\0\0\0\0\0\0\x01\x7f\x02"s, Fault::old_version},
      {"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x0b"s, Fault::bad_socket_type},
      {greeting("NULL", 1, 2).substr(0, 33), Fault::bad_greeting},
  };
  for (const auto& [bytes, fault] : cases) {
    Recorded peer;
    EXPECT_EQ(peer.read(bytes.substr(0, bytes.size() - 1)), Fault::none);
    EXPECT_EQ(peer.read(bytes.substr(bytes.size() - 1)), fault) << name(fault);
  }
  Recorded later;
  std::string version_4 = greeting();
  version_4[10] = 4;
  version_4[11] = 0;
  EXPECT_EQ(later.read(version_4 + ready("SUB")), Fault::none) << "a peer of a later version speaks ours";
  EXPECT_EQ(later.listener.peer->version, (Version{3, 1}));
}

TEST(Connection, ACommandInTheWrongStateEndsTheConnection) {
  const std::string null = greeting();
  const std::string plain = greeting("PLAIN");
  const std::string hello = command("HELLO", "\x01x\x01y");
  const std::string sub = null + ready("SUB");
  const std::vector<std::pair<std::string, Fault>> cases = {
      {null + command("HELLO", "\x01x\x01y"), Fault::unexpected_command},
      {null + command("PING", "\0\0"s), Fault::unexpected_command},
      {null + command("SUBSCRIBE", "a"), Fault::unexpected_command},
      {null + message({"\x01"}), Fault::unexpected_command},
      {null + command("READY", "x"), Fault::bad_command},
      {null + command("READY"), Fault::bad_socket_type},
      {null + ready("sub"), Fault::bad_socket_type},
      {null + command("ERROR", "\x01x"), Fault::refused_by_peer},
      {null + "\x04\0"s, Fault::bad_command},
      {plain + ready("SUB"), Fault::unexpected_command},
      {plain + command("INITIATE", metadata("SUB")), Fault::unexpected_command},
      {plain + command("HELLO", "\x01x\x02y"), Fault::bad_command},
      {plain + hello + hello, Fault::unexpected_command},
      {sub + ready("SUB"), Fault::unexpected_command},
      {sub + command("WELCOME"), Fault::unexpected_command},
      {sub + command("MESSAGE"), Fault::unexpected_command},
      {sub + command("PING", "\0"s), Fault::bad_command},
      {sub + command("ERROR", "\x01x"), Fault::refused_by_peer},
      {sub + message({""}), Fault::bad_subscription},
      {sub + message({"\x02"
                      "a"}),
       Fault::bad_subscription},
      {sub + message({"\x01"
                      "a",
                      "b"}),
       Fault::bad_subscription},
      {sub + message({"\x01" + std::string(1025, 'x')}), Fault::bad_subscription},
      {sub + command("SUBSCRIBE", std::string(1025, 'x')), Fault::bad_subscription},
      {sub + command("SUBSCRIBE", std::string(1u << 20, 'x')).substr(0, 9), Fault::command_too_long},
      {null + ready("PUB") + command("SUBSCRIBE", "a"), Fault::unexpected_command},
      {null + command("READY", metadata("SUB", std::string(256, 'x'))), Fault::bad_command},
  };
  for (const auto& [bytes, fault] : cases) {
    for (const std::size_t piece : {1UL, bytes.size()}) {
      Recorded peer;
      EXPECT_EQ(peer.read(bytes, piece), fault) << name(fault) << " at " << testing::PrintToString(bytes);
    }
  }
  EXPECT_EQ(Recorded().read(sub + command("JOIN", "x") + command("PONG", "x")), Fault::none)
      << "unknown: ignored";
}

TEST(Connection, AFaultOfTheHandshakeIsReportedToThePeer) {
  Recorded peer;
  peer.listener.accepted = [](SocketType type) { return type == SocketType::sub; };
  EXPECT_EQ(peer.read(greeting() + ready("PAIR")), Fault::bad_socket_type);
  EXPECT_EQ(peer.listener.sent, greeting() + command("ERROR",
                                                     "\x0f"
                                                     "bad_socket_type"));
  Recorded connected;
  EXPECT_EQ(connected.read(greeting() + ready("SUB")), Fault::none);
  const std::string before = connected.listener.sent;
  EXPECT_EQ(connected.read(message({""})), Fault::bad_subscription);
  EXPECT_EQ(connected.listener.sent, before) << "not after the handshake";
}

}  // namespace
}  // namespace backplane::zmtp
