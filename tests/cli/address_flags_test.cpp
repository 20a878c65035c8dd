#include "cli/address_flags.hpp"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/credentials/key_file.hpp"
#include "tests/core/credentials/temporary_folder.hpp"

namespace backplane::cli {
namespace {

using testing::ElementsAre;

const char* no_variable(const char*) {
  return nullptr;
}

/// Without the variables and contexts of the user who runs the tests.
Result<std::vector<BrokerEndpoints>> brokers_of(const AddressFlags& flags) {
  return cli::resolve(flags, no_variable);
}

std::string error_of(const AddressFlags& flags) {
  const auto brokers = brokers_of(flags);
  return brokers ? "(no error)" : brokers.error().text;
}

TEST(AddressFlags, WithoutFlagsTheBrokerIsTheLocalOne) {
  EXPECT_THAT(
      brokers_of({}).value(),
      ElementsAre(BrokerEndpoints{"tcp://127.0.0.1:5570", "tcp://127.0.0.1:5571", "tcp://127.0.0.1:5572"}));
}

TEST(AddressFlags, AHostHasTheDefaultPorts) {
  EXPECT_THAT(brokers_of({.broker = "host7"}).value(),
              ElementsAre(BrokerEndpoints{"tcp://host7:5570", "tcp://host7:5571", "tcp://host7:5572"}));
}

TEST(AddressFlags, SeveralHostsKeepTheirOrder) {
  const auto brokers = brokers_of({.broker = "b,a"}).value();
  ASSERT_EQ(brokers.size(), 2u);
  EXPECT_EQ(brokers[0].control, "tcp://b:5572");
  EXPECT_EQ(brokers[1].control, "tcp://a:5572");
}

TEST(AddressFlags, AnIpv6AddressMayHaveBrackets) {
  EXPECT_EQ(brokers_of({.broker = "::1"}).value()[0].egress, "tcp://[::1]:5571");
  EXPECT_EQ(brokers_of({.broker = "[fe80::1]"}).value()[0].egress, "tcp://[fe80::1]:5571");
  EXPECT_EQ(brokers_of({.egress = "tcp://[::1]:9"}).value()[0].egress, "tcp://[::1]:9");
}

TEST(AddressFlags, ADefaultPortMayFollowTheHost) {
  for (const char* port : {":5570", ":5571", ":5572"}) {
    EXPECT_EQ(brokers_of({.broker = std::string("host7") + port}).value(),
              brokers_of({.broker = "host7"}).value());
    EXPECT_EQ(brokers_of({.broker = std::string("[::1]") + port}).value(),
              brokers_of({.broker = "::1"}).value());
    EXPECT_EQ(brokers_of({.broker = std::string("a") + port + ",b"}).value(),
              brokers_of({.broker = "a,b"}).value());
  }
  for (const char* wrong : {"host7:", "host7:0", "host7:65534", "[host7]:5570", ":5570", "host7:5570:5570x",
                            "tcp://host7:5570", "host7,"}) {
    EXPECT_FALSE(brokers_of({.broker = wrong})) << wrong;
  }
}

TEST(AddressFlags, OtherPortsFollowFromTheFirst) {
  EXPECT_THAT(brokers_of({.broker = "a:7000,b,[::1]:80"}).value(),
              ElementsAre(BrokerEndpoints{"tcp://a:7000", "tcp://a:7001", "tcp://a:7002"},
                          BrokerEndpoints{"tcp://b:5570", "tcp://b:5571", "tcp://b:5572"},
                          BrokerEndpoints{"tcp://[::1]:80", "tcp://[::1]:81", "tcp://[::1]:82"}));
}

TEST(AddressFlags, AnEndpointReplacesThatOfTheHost) {
  EXPECT_THAT(brokers_of({.broker = "host7", .egress = "ipc:///tmp/out"}).value(),
              ElementsAre(BrokerEndpoints{"tcp://host7:5570", "ipc:///tmp/out", "tcp://host7:5572"}));
}

TEST(AddressFlags, AllBrokersHaveTheKeysOfTheFlags) {
  const TemporaryFolder folder;
  const KeyFiles files = key_files(folder.path("me"));
  ASSERT_TRUE(write_key_files(files, make_secret_key()));
  const auto brokers =
      brokers_of({.broker = "a,b", .key = files.secret, .server_key = files.public_key}).value();
  ASSERT_EQ(brokers.size(), 2u);
  for (const BrokerEndpoints& each : brokers) {
    ASSERT_NE(each.keys, nullptr);
    EXPECT_EQ(each.keys->files.key_file, files.secret);
  }
  EXPECT_EQ(error_of({.key = files.secret}),
            "--key: expected a server key with it (--server-key or BACKPLANE_SERVER_KEY_FILE), got none");
  EXPECT_EQ(error_of({.server_key = files.public_key}),
            "--server-key: expected a key with it (--key or BACKPLANE_KEY_FILE), got none");
  EXPECT_EQ(error_of({.key = "/none.key", .server_key = files.public_key}),
            "--key: cannot read /none.key: no such file");
}

TEST(AddressFlags, AnErrorNamesTheFlag) {
  EXPECT_EQ(error_of({.broker = "host7:70000"}),
            "--broker: expected a port of 1..65533 (of ingress; egress and control have the next two), got "
            "\"host7:70000\"");
  EXPECT_EQ(error_of({.broker = "a,,b"}),
            "--broker: expected HOST[:PORT] or HOST[:PORT],HOST[:PORT], got \"\"");
  EXPECT_EQ(error_of({.broker = "a b"}),
            "--broker: expected HOST[:PORT] or HOST[:PORT],HOST[:PORT], got \"a b\"");
  EXPECT_EQ(error_of({.egress = "host7"}),
            "--egress: expected tcp://HOST:PORT, ipc://PATH or inproc://NAME, got \"host7\"");
  EXPECT_EQ(error_of({.broker = "a,b", .control = "ipc:///x"}),
            "--control: expected a single host in --broker, got 2");
}

/// With variables and contexts.
class NamedBroker : public testing::Test {
 protected:
  NamedBroker() { variables_["XDG_CONFIG_HOME"] = folder_.path("config"); }

  void save(const Contexts& contexts) { ASSERT_TRUE(contexts.save(contexts_file(environment_))); }
  std::string control(const AddressFlags& flags = {}) {
    const auto brokers = cli::resolve(flags, environment_);
    return brokers ? brokers->front().control : brokers.error().text;
  }

  TemporaryFolder folder_;
  std::map<std::string, std::string> variables_;
  Environment environment_ = [this](const char* name) -> const char* {
    const auto found = variables_.find(name);
    return found == variables_.end() ? nullptr : found->second.c_str();
  };
};

TEST_F(NamedBroker, TheEnvironmentNamesOneIfNoOptionDoes) {
  variables_["BACKPLANE_BROKER"] = "env:7000,other";
  EXPECT_EQ(control(), "tcp://env:7002");
  EXPECT_EQ(cli::resolve({}, environment_)->size(), 2u);
  EXPECT_EQ(control({.broker = "flag"}), "tcp://flag:5572");
  // An option for one endpoint replaces the variable, too: brokers are never mixed.
  EXPECT_EQ(control({.egress = "tcp://flag:1"}), "tcp://127.0.0.1:5572");
  variables_["BACKPLANE_BROKER"] = "";
  EXPECT_EQ(control(), "BACKPLANE_BROKER: expected a value, got none");
  EXPECT_EQ(control({.broker = "flag"}), "tcp://flag:5572");
  variables_["BACKPLANE_BROKER"] = "a b";
  EXPECT_EQ(control(), "BACKPLANE_BROKER: expected HOST[:PORT] or HOST[:PORT],HOST[:PORT], got \"a b\"");
}

TEST_F(NamedBroker, OptionsComeBeforeTheEnvironmentAndThatBeforeTheCurrentContext) {
  save({.current = "current", .all = {{"current", {.broker = "ctx"}}, {"other", {.broker = "other"}}}});
  EXPECT_EQ(control(), "tcp://ctx:5572");
  EXPECT_EQ(control({.context = "other"}), "tcp://other:5572");
  variables_["BACKPLANE_CONTEXT"] = "other";
  EXPECT_EQ(control(), "tcp://other:5572");
  variables_["BACKPLANE_BROKER"] = "env";
  EXPECT_EQ(control(), "tcp://env:5572");
  EXPECT_EQ(control({.context = "current"}), "tcp://ctx:5572");
  EXPECT_EQ(control({.broker = "flag"}), "tcp://flag:5572");
}

TEST_F(NamedBroker, AContextThatCannotBeUsedIsAnError) {
  const std::string file = contexts_file(environment_).string();
  EXPECT_EQ(control({.context = "x"}),
            "--context: expected a context, of which " + file + " has none, got \"x\"");
  save({.current = "gone", .all = {{"field", {.gateway = "h:1"}}}});
  EXPECT_EQ(control(),
            file + ": current: expected one of the contexts in " + file + " (field), got \"gone\"");
  EXPECT_EQ(control({.context = "field"}), "context field: expected a broker for this command, got none");
  EXPECT_EQ(control({.broker = "h", .context = "field"}), "--context: cannot be combined with --broker");
  EXPECT_EQ(control({.control = "tcp://h:1", .context = "field"}),
            "--context: cannot be combined with an endpoint");
  variables_["BACKPLANE_CONTEXT"] = "x";
  EXPECT_EQ(control(), "BACKPLANE_CONTEXT: expected one of the contexts in " + file + " (field), got \"x\"");
  // Nobody who names a broker needs the file.
  EXPECT_EQ(control({.broker = "flag"}), "tcp://flag:5572");
}

TEST_F(NamedBroker, TheKeysOfAContextAreForItsBrokerOnly) {
  const KeyFiles mine = key_files(folder_.path("me"));
  const KeyFiles theirs = key_files(folder_.path("env"));
  ASSERT_TRUE(write_key_files(mine, make_secret_key()));
  ASSERT_TRUE(write_key_files(theirs, make_secret_key()));
  save({.current = "prod",
        .all = {{"prod", {.broker = "ctx", .key = mine.secret, .server_key = mine.public_key}}}});
  const auto key = [&](const AddressFlags& flags) {
    const auto brokers = cli::resolve(flags, environment_);
    if (!brokers) return brokers.error().text;
    const mq::SharedKeys& keys = brokers->front().keys;
    return keys ? keys->files.key_file : std::string("none");
  };
  EXPECT_EQ(key({}), mine.secret);
  EXPECT_EQ(key({.broker = "flag"}), "none");
  EXPECT_EQ(key({.key = theirs.secret}), theirs.secret);
  variables_["BACKPLANE_KEY_FILE"] = theirs.secret;
  variables_["BACKPLANE_SERVER_KEY_FILE"] = theirs.public_key;
  EXPECT_EQ(key({}), mine.secret);
  EXPECT_EQ(key({.broker = "flag"}), theirs.secret);
  save({.current = "prod",
        .all = {{"prod", {.broker = "ctx", .key = "/none.key", .server_key = mine.public_key}}}});
  EXPECT_EQ(key({}), "context prod: key: cannot read /none.key: no such file");
}

}  // namespace
}  // namespace backplane::cli
