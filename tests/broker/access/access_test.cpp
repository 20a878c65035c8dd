#include "broker/access/access.hpp"

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/broker/access/policy_text.hpp"

namespace backplane::broker {
namespace {

using namespace std::chrono_literals;
using policy::Visibility;
using testing::policy_of;
using testing::two_worlds;

/// A ZAP handler that authenticates every connection as the user whom it names (PLAIN, any password).
class Authenticator {
 public:
  explicit Authenticator(zmq::context_t& context) : socket_(context, zmq::socket_type::rep) {
    socket_.bind("inproc://zeromq.zap.01");
    socket_.set(zmq::sockopt::rcvtimeo, 20);
    thread_ = std::thread([this] { run(); });
  }
  ~Authenticator() {
    stops_ = true;
    thread_.join();
  }

 private:
  void run() {
    while (!stops_) {
      std::vector<std::string> request;
      zmq::message_t frame;
      bool more = true;
      while (more && socket_.recv(frame)) {
        request.push_back(frame.to_string());
        more = frame.more();
      }
      if (request.size() != 8) continue;
      const std::vector<std::string> reply{"1.0", request[1], "200", "OK",
                                           request[6] == "nobody" ? "" : request[6]};
      for (const std::string& each : reply) socket_.send(zmq::buffer(each), zmq::send_flags::sndmore);
      socket_.send(zmq::message_t(), zmq::send_flags::none);
    }
  }
  zmq::socket_t socket_;
  std::atomic<bool> stops_{};
  std::thread thread_;
};

/// Receives messages of authenticated users.
class Messages {
 public:
  Messages() : server_(context_, zmq::socket_type::pull) {
    server_.set(zmq::sockopt::plain_server, 1);
    server_.set(zmq::sockopt::zap_domain, "test");
    server_.set(zmq::sockopt::rcvtimeo, 5000);
    server_.bind("tcp://127.0.0.1:*");
  }
  /// A message that `user` has sent on a new connection. "nobody": the connection has no user.
  zmq::message_t from(const std::string& user) {
    zmq::socket_t client(context_, zmq::socket_type::push);
    client.set(zmq::sockopt::linger, 1000);
    client.set(zmq::sockopt::plain_username, user);
    client.set(zmq::sockopt::plain_password, "any");
    client.connect(server_.get(zmq::sockopt::last_endpoint));
    EXPECT_TRUE(client.send(zmq::str_buffer("x"), zmq::send_flags::none));
    zmq::message_t message;
    EXPECT_TRUE(server_.recv(message));
    return message;
  }

 private:
  zmq::context_t context_;
  Authenticator authenticator_{context_};
  zmq::socket_t server_;
};

TEST(Access, PermitsEverythingWithoutAPolicy) {
  Access access;
  EXPECT_FALSE(access.has_policy());
  EXPECT_TRUE(access.may_publish(nullptr, "sensor.1"));
  EXPECT_TRUE(access.may_subscribe(nullptr, "sensor.1"));
  EXPECT_EQ(access.visibility(nullptr, Pattern::parse(">").value()), Visibility::all);
  EXPECT_TRUE(access.is_admin(nullptr));
  EXPECT_EQ(access.number_of(nullptr), no_user);
  zmq::message_t message;
  EXPECT_EQ(access.user_of(message), nullptr);
}

TEST(Access, ItsOwnUserMayDoEverythingUnderAnyPolicy) {
  EXPECT_EQ(Access().own_user(), nullptr);
  Access access(policy_of(two_worlds));
  const policy::User* const own = access.own_user();
  const UserNumber number = access.number_of(own);
  EXPECT_NE(number, no_user);
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(access.may_publish(own, "sensor.1"));
    EXPECT_TRUE(access.may_subscribe(own, "news.uk"));
    EXPECT_EQ(access.visibility(own, Pattern::parse(">").value()), Visibility::all);
    EXPECT_TRUE(access.is_admin(own));
    EXPECT_EQ(access.number_of(own), number);
    EXPECT_EQ(access.own_sender().user, own);
    EXPECT_NE(access.number_of(access.user_of_name("sensor")), number);
    EXPECT_EQ(access.user_of_name(own->name), nullptr) << "nobody can be it by name";
    access.set_policy(policy_of(two_worlds));
    EXPECT_EQ(access.own_user(), own);
  }
}

TEST(Access, PermitsNobodyNothingWithAPolicy) {
  Access access(policy_of(two_worlds));
  EXPECT_FALSE(access.may_publish(nullptr, "sensor.1"));
  EXPECT_FALSE(access.may_subscribe(nullptr, "sensor.1"));
  EXPECT_EQ(access.visibility(nullptr, Pattern::parse(">").value()), Visibility::none);
  EXPECT_FALSE(access.is_admin(nullptr));
  zmq::message_t message("made here", 9);
  EXPECT_EQ(access.user_of(message), nullptr);
}

TEST(Access, DecidesAsThePolicySays) {
  Access access(policy_of(two_worlds));
  const policy::User* const sensor = access.user_of_name("sensor");
  for (int again = 0; again < 2; ++again) {
    EXPECT_TRUE(access.may_publish(sensor, "sensor.1"));
    EXPECT_FALSE(access.may_publish(sensor, "news.uk"));
    EXPECT_FALSE(access.may_publish(sensor, "$SYS.drain"));
    EXPECT_TRUE(access.may_subscribe(sensor, "sensor.1"));
    EXPECT_FALSE(access.may_subscribe(sensor, "news.uk"));
  }
  EXPECT_EQ(access.visibility(sensor, Pattern::parse(">").value()), Visibility::part);
  EXPECT_EQ(access.visibility(sensor, Pattern::parse("news.>").value()), Visibility::none);
  const auto readable = access.readable_topics(*sensor);
  EXPECT_TRUE(readable->matches("sensor.1"));
  EXPECT_FALSE(readable->matches("news.uk"));
  EXPECT_FALSE(access.is_admin(sensor));
  EXPECT_TRUE(access.is_admin(access.user_of_name("operator")));
}

TEST(Access, FindsTheUserThatZapHasAuthenticated) {
  Messages messages;
  Access access(policy_of(two_worlds));
  for (int again = 0; again < 20; ++again) {
    // Each on a new connection: their properties often get the memory of the one before.
    for (const std::string name : {"sensor", "news"}) {
      zmq::message_t message = messages.from(name);
      ASSERT_EQ(access.user_of(message), access.user_of_name(name));
      ASSERT_EQ(access.user_of(message), access.user_of_name(name));
    }
  }
  zmq::message_t message = messages.from("news");
  const Sender sender = access.sender_of(message);
  EXPECT_EQ(sender.user, access.user_of_name("news"));
  EXPECT_EQ(sender.name, "news");
  EXPECT_EQ(sender.address, "127.0.0.1");
}

TEST(Access, KnowsNoUserThatThePolicyDoesNotHave) {
  Messages messages;
  Access access(policy_of(two_worlds));
  zmq::message_t stranger = messages.from("stranger");
  EXPECT_EQ(access.user_of(stranger), nullptr);
  EXPECT_EQ(access.sender_of(stranger).name, "stranger");
  zmq::message_t nobody = messages.from("nobody");
  EXPECT_EQ(access.user_of(nobody), nullptr);
}

TEST(Access, LooksUsersUpAgainByNameWhenThePolicyChanges) {
  Messages messages;
  Access access(policy_of(two_worlds));
  zmq::message_t sensor = messages.from("sensor");
  zmq::message_t news = messages.from("news");
  const UserNumber sensor_number = access.number_of(access.user_of(sensor));
  const UserNumber news_number = access.number_of(access.user_of(news));
  EXPECT_NE(sensor_number, news_number);
  EXPECT_TRUE(access.may_publish(access.user_of(sensor), "sensor.1"));
  const std::uint64_t before = access.generation();

  access.set_policy(policy_of(R"(
    [users.a]
    certificate = "a"
    [users.sensor]
    certificate = "sensor"
    roles = ["weather"]
    [roles.weather]
    publish = ["weather.>"]
  )"));
  EXPECT_NE(access.generation(), before);
  EXPECT_EQ(access.user_of(news), nullptr);
  ASSERT_EQ(access.user_of(sensor), access.user_of_name("sensor"));
  EXPECT_EQ(access.number_of(access.user_of(sensor)), sensor_number);
  EXPECT_FALSE(access.may_publish(access.user_of(sensor), "sensor.1"));
  EXPECT_TRUE(access.may_publish(access.user_of(sensor), "weather.1"));

  access.set_policy(policy_of(two_worlds));
  EXPECT_EQ(access.number_of(access.user_of(news)), news_number);
  EXPECT_TRUE(access.may_publish(access.user_of(news), "news.uk"));
}

TEST(Access, NumbersNamesThatNoPolicyHas) {
  Access access(policy_of(two_worlds));
  const UserNumber gone = access.number_of_name("gone");
  EXPECT_NE(gone, no_user);
  EXPECT_EQ(access.number_of_name("gone"), gone);
  EXPECT_EQ(access.number_of_name("sensor"), access.number_of(access.user_of_name("sensor")));
  EXPECT_EQ(access.name_of(gone), "gone");
  EXPECT_EQ(access.name_of(no_user), "");
  const std::string_view name = access.name_of(access.number_of_name("news"));
  access.set_policy(policy_of(R"(
    [users.gone]
    certificate = "gone"
  )"));
  EXPECT_EQ(access.number_of(access.user_of_name("gone")), gone);
  EXPECT_EQ(name, "news") << "names outlive the policy";
}

}  // namespace
}  // namespace backplane::broker
