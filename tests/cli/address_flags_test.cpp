#include "cli/address_flags.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/credentials/key_file.hpp"
#include "tests/core/credentials/temporary_folder.hpp"

namespace backplane::cli {
namespace {

using testing::ElementsAre;

std::string error_of(const AddressFlags& flags) {
  const auto brokers = resolve(flags);
  return brokers ? "(no error)" : brokers.error().text;
}

TEST(AddressFlags, WithoutFlagsTheBrokerIsTheLocalOne) {
  EXPECT_THAT(resolve({}).value(), ElementsAre(BrokerEndpoints{"tcp://127.0.0.1:5570", "tcp://127.0.0.1:5571",
                                                               "tcp://127.0.0.1:5572"}));
}

TEST(AddressFlags, AHostHasTheDefaultPorts) {
  EXPECT_THAT(resolve({.broker = "host7"}).value(),
              ElementsAre(BrokerEndpoints{"tcp://host7:5570", "tcp://host7:5571", "tcp://host7:5572"}));
}

TEST(AddressFlags, SeveralHostsKeepTheirOrder) {
  const auto brokers = resolve({.broker = "b,a"}).value();
  ASSERT_EQ(brokers.size(), 2u);
  EXPECT_EQ(brokers[0].control, "tcp://b:5572");
  EXPECT_EQ(brokers[1].control, "tcp://a:5572");
}

TEST(AddressFlags, AnIpv6AddressMayHaveBrackets) {
  EXPECT_EQ(resolve({.broker = "::1"}).value()[0].egress, "tcp://[::1]:5571");
  EXPECT_EQ(resolve({.broker = "[fe80::1]"}).value()[0].egress, "tcp://[fe80::1]:5571");
  EXPECT_EQ(resolve({.egress = "tcp://[::1]:9"}).value()[0].egress, "tcp://[::1]:9");
}

TEST(AddressFlags, ADefaultPortMayFollowTheHost) {
  for (const char* port : {":5570", ":5571", ":5572"}) {
    EXPECT_EQ(resolve({.broker = std::string("host7") + port}).value(), resolve({.broker = "host7"}).value());
    EXPECT_EQ(resolve({.broker = std::string("[::1]") + port}).value(), resolve({.broker = "::1"}).value());
    EXPECT_EQ(resolve({.broker = std::string("a") + port + ",b"}).value(),
              resolve({.broker = "a,b"}).value());
  }
  for (const char* wrong : {"host7:", "host7:0", "host7:55700", "host7:5574", "[::1]:80", "[host7]:5570",
                            ":5570", "host7:5570:5570x", "tcp://host7:5570"}) {
    EXPECT_FALSE(resolve({.broker = wrong})) << wrong;
  }
}

TEST(AddressFlags, AnEndpointReplacesThatOfTheHost) {
  EXPECT_THAT(resolve({.broker = "host7", .egress = "ipc:///tmp/out"}).value(),
              ElementsAre(BrokerEndpoints{"tcp://host7:5570", "ipc:///tmp/out", "tcp://host7:5572"}));
}

TEST(AddressFlags, AllBrokersHaveTheKeysOfTheFlags) {
  const TemporaryFolder folder;
  const KeyFiles files = key_files(folder.path("me"));
  ASSERT_TRUE(write_key_files(files, make_secret_key()));
  const auto brokers =
      resolve({.broker = "a,b", .key = files.secret, .server_key = files.public_key}).value();
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
  EXPECT_EQ(error_of({.broker = "host7:7000"}),
            "--broker: expected HOST without a port, got \"host7:7000\"; for other ports than 5570, 5571 and "
            "5572, use --ingress tcp://host7:PORT, --egress tcp://host7:PORT and --control tcp://host7:PORT");
  EXPECT_EQ(error_of({.broker = "a,,b"}), "--broker: expected HOST or HOST,HOST without ports, got \"\"");
  EXPECT_EQ(error_of({.broker = "a b"}), "--broker: expected HOST or HOST,HOST without ports, got \"a b\"");
  EXPECT_EQ(error_of({.egress = "host7"}),
            "--egress: expected tcp://HOST:PORT, ipc://PATH or inproc://NAME, got \"host7\"");
  EXPECT_EQ(error_of({.broker = "a,b", .control = "ipc:///x"}),
            "--control: expected a single host in --broker, got 2");
}

}  // namespace
}  // namespace backplane::cli
