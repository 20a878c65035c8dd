#include "cli/serve_configuration.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// What a file is for `serve`.
class ServeConfiguration : public ::testing::Test {
 protected:
  void read(std::string_view toml) {
    auto source = config::Source::parse(toml, "backplane.toml");
    ASSERT_TRUE(source.has_value()) << source.error().text;
    ConfigurationResult read = read_configuration(*source);
    ASSERT_TRUE(read.has_value()) << read.error().front();
    configuration = *std::move(read);
    errors = make_one_process(*source, configuration);
  }
  gateway::GatewayConfig& gateway() { return configuration.gateway; }

  Configuration configuration;
  std::vector<std::string> errors;
};

TEST_F(ServeConfiguration, WithoutAFileTheGatewayServesTheOneBackplaneWithTheBrokersMetrics) {
  read("");
  EXPECT_THAT(errors, IsEmpty());
  EXPECT_EQ(gateway().first.name, "default");
  EXPECT_EQ(gateway().metrics, "localhost:9570");
  EXPECT_EQ(configuration.broker.metrics, broker::off);
  EXPECT_TRUE(configuration.broker.serves_own_process);
}

TEST_F(ServeConfiguration, TheReferenceWithEveryKeyCanBeUsed) {
  read(print_configuration(Configuration{}));
  EXPECT_THAT(errors, IsEmpty());
}

TEST_F(ServeConfiguration, TheGatewayServesTheFirstBackplaneIfNoneIsCalledDefault) {
  read(R"(
[[backplane]]
name = "plant"
[gateway]
[[gateway.feed]]
listen = "127.0.0.1:0"
topics = ["a"]
)");
  EXPECT_THAT(errors, IsEmpty());
  EXPECT_EQ(gateway().first.name, "plant");
  EXPECT_EQ(gateway().feeds[0].backplane, "plant");
}

TEST_F(ServeConfiguration, BackplanesAreMatchedByName) {
  read(R"(
[[backplane]]
name = "other"
ingress = "tcp://localhost:6570"
egress = "tcp://localhost:6571"
control = "tcp://localhost:6572"
raw = "off"
[[backplane]]
name = "default"
[[backplane]]
name = "zeromq-only"
ingress = "tcp://localhost:7570"
egress = "tcp://localhost:7571"
control = "tcp://localhost:7572"
raw = "off"
[[gateway.backplane]]
name = "other"
listen = ["127.0.0.1:1602"]
)");
  EXPECT_THAT(errors, IsEmpty());
  EXPECT_EQ(gateway().first.name, "default");
  EXPECT_EQ(gateway().others[0].name, "other");
}

TEST_F(ServeConfiguration, ABackplaneThatTheProcessDoesNotHaveIsAnError) {
  read(R"([[gateway.backplane]]
name = "away"
listen = ["127.0.0.1:1602"]
)");
  EXPECT_THAT(errors, ElementsAre("backplane.toml:2 [gateway.backplane].name: expected the name of a "
                                  "[[backplane]], got \"away\""));
}

TEST_F(ServeConfiguration, NoBackplaneIsServedTwice) {
  read(R"([[backplane]]
name = "plant"
[[gateway.backplane]]
name = "plant"
listen = ["127.0.0.1:1602"]
)");
  EXPECT_THAT(errors, ElementsAre("backplane.toml:4 [gateway.backplane].name: expected the name of a "
                                  "[[backplane]] other than the one that [gateway] serves, got \"plant\""));
}

TEST_F(ServeConfiguration, BrokersElsewhereAreAnError) {
  read("[gateway]\nbrokers = ['host7', 'host8']\n");
  EXPECT_THAT(errors,
              ElementsAre("backplane.toml:2 [gateway].brokers: expected no brokers, because the gateway of "
                          "`backplane serve` uses the broker in its own process, got \"host7, host8\""));
}

TEST_F(ServeConfiguration, TheGatewayUsesNoKeys) {
  read("server_key = 'broker.pub'\n");
  EXPECT_THAT(errors, IsEmpty());
  EXPECT_EQ(gateway().credentials.key_file, "");
  EXPECT_EQ(gateway().credentials.server_key_file, "");
}

}  // namespace
}  // namespace backplane::cli
