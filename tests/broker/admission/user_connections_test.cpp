#include "broker/admission/user_connections.hpp"

#include <array>
#include <stdexcept>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace backplane::broker {
namespace {

constexpr std::string_view key_of_a = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
constexpr std::string_view key_of_b = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

std::shared_ptr<const policy::Policy> policy_of(const std::string& toml) {
  auto policy = policy::Policy::parse(toml, "policy.toml");
  if (!policy) throw std::runtime_error(policy.error().front());
  return std::make_shared<const policy::Policy>(std::move(*policy));
}

/// A connection: the broker's end and the client's.
class Connection {
 public:
  Connection() {
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends_.data()) != 0) throw std::runtime_error("socketpair");
  }
  ~Connection() {
    for (const int end : ends_) ::close(end);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] int descriptor() const { return ends_[0]; }
  [[nodiscard]] bool is_ended() const {
    char byte{};
    return ::recv(ends_[1], &byte, 1, MSG_DONTWAIT) == 0;
  }
  /// Puts another connection in its place, as the system does after a close.
  void replace_by(const Connection& other) const { ::dup2(other.descriptor(), descriptor()); }

 private:
  std::array<int, 2> ends_{};
};

class UserConnectionsTest : public ::testing::Test {
 protected:
  UserConnectionsTest() {
    for (const Connection* each : {&of_a, &of_b, &of_nobody}) connections.accepted(each->descriptor());
    connections.saw(of_a.descriptor(), "a");
    connections.saw(of_b.descriptor(), "b");
  }
  const std::shared_ptr<const policy::Policy> both =
      policy_of(fmt::format("[users.a]\ncurve = '{}'\n[users.b]\ncurve = '{}'\n", key_of_a, key_of_b));
  const std::shared_ptr<const policy::Policy> only_b =
      policy_of(fmt::format("[users.b]\ncurve = '{}'\n", key_of_b));
  Connection of_a;
  Connection of_b;
  Connection of_nobody;
  UserConnections connections{EndpointRule("ingress"), both};
};

TEST_F(UserConnectionsTest, ThoseOfUsersToDisconnectAreEndedAndThoseThatMayBeTheirs) {
  connections.set_policy(only_b, {"a"});
  EXPECT_TRUE(of_a.is_ended());
  EXPECT_FALSE(of_b.is_ended());
  EXPECT_TRUE(of_nobody.is_ended());
  EXPECT_EQ(connections.ended(), 2u);
}

TEST_F(UserConnectionsTest, NoneIsEndedIfNobodyIsToBeDisconnected) {
  connections.set_policy(both, {});
  EXPECT_FALSE(of_a.is_ended());
  EXPECT_FALSE(of_nobody.is_ended());
  EXPECT_EQ(connections.ended(), 0u);
}

TEST_F(UserConnectionsTest, AMessageOfAUserWhoMayNotConnectEndsTheConnection) {
  connections.set_policy(only_b, {});
  Connection late;
  connections.accepted(late.descriptor());
  EXPECT_TRUE(connections.saw(late.descriptor(), "a"));
  EXPECT_TRUE(late.is_ended());
}

TEST_F(UserConnectionsTest, AMessageOfAClosedConnectionIsNotNoted) {
  connections.closed(of_a.descriptor());
  EXPECT_FALSE(connections.saw(of_a.descriptor(), "a"));
  connections.set_policy(only_b, {"a"});
  EXPECT_FALSE(of_a.is_ended());
}

TEST_F(UserConnectionsTest, ALaterConnectionWithTheSameDescriptorIsNotEnded) {
  Connection later;
  of_a.replace_by(later);
  connections.set_policy(only_b, {"a"});
  EXPECT_FALSE(later.is_ended());
}

TEST_F(UserConnectionsTest, ADescriptorThatIsUsedAgainBelongsToNobodyAtFirst) {
  connections.closed(of_b.descriptor());
  connections.accepted(of_b.descriptor());
  connections.set_policy(only_b, {"a"});
  EXPECT_TRUE(of_b.is_ended());
}

}  // namespace
}  // namespace backplane::broker
