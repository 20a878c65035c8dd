#include <stdexcept>

#include <gmock/gmock.h>

#include "backplane/publisher.hpp"
#include "core/credentials/key_file.hpp"
#include "publishers/sources/session_lookup.hpp"
#include "tests/core/credentials/temporary_folder.hpp"
#include "tests/publishers/fake_ingress_broker.hpp"

namespace backplane {
namespace {

using namespace std::chrono_literals;
using backplane::testing::CurveKeys;
using backplane::testing::FakeIngressBroker;
using ::testing::EndsWith;
using Clock = std::chrono::steady_clock;

class PublisherKeysTest : public ::testing::Test {
 protected:
  PublisherKeysTest() {
    EXPECT_TRUE(write_key_files(me_, make_secret_key()));
    broker_pub_ = write_public_key("broker.pub", broker_keys_);
  }

  std::string write_public_key(const char* name, const CurveKeys& keys) const {
    return folder_.write(name, to_text(PublicKey{keys.public_key}) + "\n", 0644);
  }
  Publisher::Options options(const std::string& server_key_file) const {
    Publisher::Options options;
    options.brokers = {broker_.endpoints()};
    options.source = "test@here";
    options.credentials = {me_.secret, server_key_file};
    return options;
  }
  /// Waits for the publisher's key problem, 2 s at most.
  static std::string problem_of(const Publisher& publisher) {
    const auto end = Clock::now() + 2s;
    while (publisher.status().key_problem.empty() && Clock::now() < end) std::this_thread::yield();
    EXPECT_EQ(publisher.status().last_problem, publisher.status().key_problem);
    return publisher.status().key_problem;
  }

  TemporaryFolder folder_;
  KeyFiles me_ = key_files(folder_.path("me"));
  CurveKeys broker_keys_;
  std::string broker_pub_;
  FakeIngressBroker broker_;
};

TEST_F(PublisherKeysTest, PublishesWithKeys) {
  broker_.require_keys(broker_keys_);
  Publisher publisher(options(broker_pub_));
  EXPECT_EQ(publisher.offer_text("a", "1"), Offer::accepted);
  EXPECT_TRUE(publisher.flush(10s));
  EXPECT_EQ(publisher.status().key_problem, "");
}

TEST_F(PublisherKeysTest, ReconnectsWithKeys) {
  broker_.require_keys(broker_keys_);
  Publisher publisher(options(broker_pub_));
  ASSERT_TRUE(publisher.wait_ready(10s));
  broker_.cut();
  EXPECT_EQ(publisher.offer_text("a", "1"), Offer::accepted);
  EXPECT_TRUE(publisher.flush(10s));
  EXPECT_EQ(publisher.status().reconnects, 1u);
  EXPECT_EQ(publisher.status().key_problem, "");
}

TEST_F(PublisherKeysTest, ReportsARefusedKeyAndPublishesWhenItIsAdmitted) {
  broker_.require_keys(broker_keys_, "400");
  Publisher publisher(options(broker_pub_));
  EXPECT_EQ(publisher.offer_text("a", "1"), Offer::accepted);
  EXPECT_EQ(problem_of(publisher),
            broker_.endpoints().ingress + ": the broker does not admit the key in " + me_.secret.string() +
                ": its policy has no user with it, or the user may not connect to this endpoint");
  broker_.require_keys(broker_keys_);
  EXPECT_TRUE(publisher.flush(10s));
  EXPECT_EQ(publisher.status().key_problem, "");
}

TEST_F(PublisherKeysTest, ReportsAnotherServerKey) {
  broker_.require_keys(broker_keys_);
  const std::string other = write_public_key("other.pub", CurveKeys());
  const Publisher publisher(options(other));
  EXPECT_THAT(problem_of(publisher), EndsWith("the broker's key is not the one in " + other));
}

TEST_F(PublisherKeysTest, ReportsThatKeysAreRequiredOrNotUsed) {
  {
    const Publisher publisher(options(broker_pub_));
    EXPECT_THAT(problem_of(publisher), EndsWith("the broker uses no keys; connect without them"));
  }
  broker_.require_keys(broker_keys_);
  Publisher::Options without = options(broker_pub_);
  without.credentials = {};
  const Publisher publisher(without);
  EXPECT_THAT(problem_of(publisher), EndsWith("the broker requires keys (--key, --server-key)"));
}

TEST_F(PublisherKeysTest, ANameOfAnotherUserIsReported) {
  broker_.require_keys(broker_keys_);
  broker_.forbid_hello(true);
  Publisher publisher(options(broker_pub_));
  EXPECT_EQ(publisher.offer_text("a", "1"), Offer::accepted);
  EXPECT_EQ(problem_of(publisher),
            broker_.endpoints().control + " refused a request: not_permitted: it belongs to another user");
  broker_.forbid_hello(false);
  EXPECT_TRUE(publisher.flush(10s));
  EXPECT_EQ(publisher.status().key_problem, "");
}

TEST_F(PublisherKeysTest, ASessionOfAnotherUserIsLeft) {
  broker_.require_keys(broker_keys_);
  Publisher publisher(options(broker_pub_));
  EXPECT_EQ(publisher.offer_text("a", "1"), Offer::accepted);
  ASSERT_TRUE(publisher.flush(10s));
  const std::uint64_t session = publisher.status().session;
  broker_.forbid_sessions();
  EXPECT_EQ(publisher.offer_text("a", "2"), Offer::accepted);
  EXPECT_TRUE(publisher.flush(10s));
  EXPECT_NE(publisher.status().session, session);
  EXPECT_THAT(publisher.status().last_problem,
              ::testing::HasSubstr("not_permitted: it belongs to another user"));
  EXPECT_GE(broker_.admitted().size(), 2u);
}

TEST_F(PublisherKeysTest, UnusableKeysThrow) {
  try {
    const Publisher publisher(options("/none.pub"));
    FAIL() << "no exception";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "server_key_file: cannot read /none.pub: no such file");
  }
  EXPECT_THROW(Publisher(options("")), std::invalid_argument);
}

TEST_F(PublisherKeysTest, SessionsAreLookedUpWithKeys) {
  broker_.require_keys(broker_keys_);
  std::uint64_t session = 0;
  {
    Publisher publisher(options(broker_pub_));
    EXPECT_EQ(publisher.offer_text("a", "1"), Offer::accepted);
    EXPECT_TRUE(publisher.flush(10s));
    session = publisher.status().session;
  }
  const std::vector<PublisherEndpoints> brokers{broker_.endpoints()};
  sources::SessionLookup lookup(brokers, {me_.secret, broker_pub_});
  EXPECT_EQ(lookup.confirmed_sequence("test@here", session), 1u);
  sources::SessionLookup without(brokers, {});
  EXPECT_EQ(without.confirmed_sequence("test@here", session), std::nullopt);
}

}  // namespace
}  // namespace backplane
