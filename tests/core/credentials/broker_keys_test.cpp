#include "core/credentials/broker_keys.hpp"

#include <map>
#include <stdexcept>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/credentials/key_file.hpp"
#include "core/process/host.hpp"
#include "tests/core/credentials/temporary_folder.hpp"

namespace backplane {
namespace {

using Variables = std::map<std::string, std::string>;

Result<mq::SharedKeys> read(const CredentialFiles& files, const Variables& variables,
                            const CredentialOptions& options = {}) {
  return read_broker_keys(
      files,
      [&](const char* name) -> const char* {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
      },
      options);
}

std::string error_of(const CredentialFiles& files, const Variables& variables) {
  const auto keys = read(files, variables);
  return keys ? "no error" : keys.error().text;
}

/// The key pairs of a client and a broker.
struct BrokerKeysTest : testing::Test {
  BrokerKeysTest() {
    EXPECT_TRUE(write_key_files(me, my_key));
    EXPECT_TRUE(write_key_files(broker, broker_key));
  }
  TemporaryFolder folder;
  KeyFiles me = key_files(folder.path("me"));
  KeyFiles broker = key_files(folder.path("broker"));
  SecretKey my_key = make_secret_key();
  SecretKey broker_key = make_secret_key();
};

TEST_F(BrokerKeysTest, AreNoneByDefault) {
  EXPECT_EQ(read({}, {}).value(), nullptr);
}

TEST_F(BrokerKeysTest, ComeFromOptionsAndTheEnvironment) {
  const std::string key = me.secret;
  const std::string server_key = broker.public_key;
  for (const auto& keys :
       {read({.key = key, .server_key = server_key}, {}),
        read({.key = key}, {{"BACKPLANE_SERVER_KEY_FILE", server_key}}),
        read({}, {{"BACKPLANE_KEY_FILE", key}, {"BACKPLANE_SERVER_KEY_FILE", server_key}})}) {
    ASSERT_TRUE(keys);
    ASSERT_NE(*keys, nullptr);
    EXPECT_EQ((*keys)->curve.secret_key, my_key.bytes());
    EXPECT_EQ((*keys)->curve.public_key, my_key.public_key().bytes);
    EXPECT_EQ((*keys)->curve.server_key, broker_key.public_key().bytes);
    EXPECT_EQ((*keys)->files.key_file, key);
    EXPECT_EQ((*keys)->files.server_key_file, server_key);
  }
}

TEST_F(BrokerKeysTest, HalfOfThemIsAnError) {
  EXPECT_EQ(error_of({.key = me.secret}, {}),
            "--key: expected a server key with it (--server-key or BACKPLANE_SERVER_KEY_FILE), got none");
  EXPECT_EQ(error_of({.server_key = broker.public_key}, {}),
            "--server-key: expected a key with it (--key or BACKPLANE_KEY_FILE), got none");
  EXPECT_EQ(error_of({}, {{"BACKPLANE_KEY_FILE", me.secret}}),
            "BACKPLANE_KEY_FILE: expected a server key with it (--server-key or BACKPLANE_SERVER_KEY_FILE), "
            "got none");
  EXPECT_EQ(error_of({}, {{"BACKPLANE_SERVER_KEY_FILE", broker.public_key}}),
            "BACKPLANE_SERVER_KEY_FILE: expected a key with it (--key or BACKPLANE_KEY_FILE), got none");
}

TEST_F(BrokerKeysTest, ErrorsNameTheCallersOptions) {
  const auto keys = read({.key = me.secret, .server_key = "/none.pub"}, {},
                         {.key = "key_file", .server_key = "server_key_file"});
  ASSERT_FALSE(keys);
  EXPECT_EQ(keys.error().text, "server_key_file: cannot read /none.pub: no such file");
  EXPECT_THROW(keys_of({.key_file = "/none.key"}), std::invalid_argument);
}

TEST_F(BrokerKeysTest, TokensAreNotLookedAt) {
  EXPECT_EQ(read({}, {{"BACKPLANE_TOKEN_FILE", "/none"}, {"BACKPLANE_TOKEN", "a"}}).value(), nullptr);
}

TEST_F(BrokerKeysTest, TheDefaultNameOfAProgramDiffersByKey) {
  const std::string plain = default_name("pub", nullptr);
  EXPECT_EQ(plain, "pub@" + host_name());
  const auto keys = read({.key = me.secret, .server_key = broker.public_key}, {}).value();
  const std::string mine = default_name("pub", keys);
  const auto& key = keys->curve.public_key;
  EXPECT_EQ(mine, plain + fmt::format("-{:02x}{:02x}{:02x}{:02x}", key[0], key[1], key[2], key[3]));
  EXPECT_EQ(default_name("pub", keys), mine);
  auto other = std::make_shared<mq::ClientKeys>(*keys);
  other->curve.public_key[0] ^= 1;
  EXPECT_NE(default_name("pub", other), mine);
}

}  // namespace
}  // namespace backplane
