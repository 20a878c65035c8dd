#include "core/credentials/given_credentials.hpp"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/credentials/key_file.hpp"
#include "tests/core/credentials/temporary_folder.hpp"

namespace backplane {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

using Variables = std::map<std::string, std::string>;

Result<GivenCredentials> read(const CredentialFiles& files, const Variables& variables) {
  return read_credentials(files, [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string token_of(const CredentialFiles& files, const Variables& variables) {
  const auto given = read(files, variables);
  return given && given->token ? given->token->secret() : "none";
}

std::string error_of(const CredentialFiles& files, const Variables& variables) {
  const auto given = read(files, variables);
  return given ? "no error" : given.error().text;
}

TEST(GivenCredentials, AreNoneByDefault) {
  const auto given = read({}, {});
  ASSERT_TRUE(given);
  EXPECT_FALSE(given->token);
  EXPECT_FALSE(given->key);
  EXPECT_FALSE(given->server_key);
}

TEST(GivenCredentials, ATokenComesFromAFileOrTheEnvironment) {
  const TemporaryFolder folder;
  const std::string one = folder.write("one", "first\n", 0600).string();
  const std::string two = folder.write("two", "second\r\n", 0400).string();
  EXPECT_EQ(token_of({.token = one, .key = {}, .server_key = {}}, {}), "first");
  EXPECT_EQ(token_of({}, {{"BACKPLANE_TOKEN_FILE", two}}), "second");
  EXPECT_EQ(token_of({}, {{"BACKPLANE_TOKEN", "third"}}), "third");
}

TEST(GivenCredentials, AnOptionComesBeforeTheEnvironment) {
  const TemporaryFolder folder;
  const std::string file = folder.write("one", "first", 0600).string();
  EXPECT_EQ(token_of({.token = file, .key = {}, .server_key = {}}, {{"BACKPLANE_TOKEN", "second"}}), "first");
  EXPECT_EQ(token_of({.token = file, .key = {}, .server_key = {}}, {{"BACKPLANE_TOKEN_FILE", "/none"}}),
            "first");
}

TEST(GivenCredentials, TwoTokensOfTheEnvironmentAreAnError) {
  EXPECT_EQ(error_of({}, {{"BACKPLANE_TOKEN", "a"}, {"BACKPLANE_TOKEN_FILE", "/none"}}),
            "BACKPLANE_TOKEN_FILE: expected no BACKPLANE_TOKEN beside it, got both");
}

TEST(GivenCredentials, AnEmptyVariableIsAnError) {
  for (const char* const name :
       {"BACKPLANE_TOKEN", "BACKPLANE_TOKEN_FILE", "BACKPLANE_KEY_FILE", "BACKPLANE_SERVER_KEY_FILE"}) {
    EXPECT_EQ(error_of({}, {{name, ""}}), std::string(name) + ": expected a value, got none");
  }
}

TEST(GivenCredentials, AnErrorNamesTheSourceAndNotTheSecret) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of({}, {{"BACKPLANE_TOKEN_FILE", "/none/token"}}),
            "BACKPLANE_TOKEN_FILE: cannot read /none/token: no such file");
  const std::string open = folder.write("open", "s3cret", 0644).string();
  EXPECT_THAT(
      error_of({.token = open, .key = {}, .server_key = {}}, {}),
      StartsWith("--token-file: " + open + ": expected a file that other users can neither read nor write"));
  const std::string two_lines = folder.write("two", "s3cret\ns3cret\n", 0600).string();
  for (const std::string& error : {error_of({.token = two_lines, .key = {}, .server_key = {}}, {}),
                                   error_of({}, {{"BACKPLANE_TOKEN", "s3cret s3cret"}})}) {
    EXPECT_THAT(error, HasSubstr("expected a token of 1..512 printable ASCII characters"));
    EXPECT_THAT(error, Not(HasSubstr("s3cret")));
  }
}

TEST(GivenCredentials, KeysComeFromFiles) {
  const TemporaryFolder folder;
  const SecretKey key = make_secret_key();
  const KeyFiles files = key_files(folder.path("me"));
  ASSERT_TRUE(write_key_files(files, key));
  const auto by_option = read({.token = {}, .key = files.secret, .server_key = files.public_key}, {});
  ASSERT_TRUE(by_option);
  EXPECT_EQ(by_option->key->bytes(), key.bytes());
  EXPECT_EQ(by_option->server_key, key.public_key());
  const auto by_variable =
      read({}, {{"BACKPLANE_KEY_FILE", files.secret}, {"BACKPLANE_SERVER_KEY_FILE", files.public_key}});
  ASSERT_TRUE(by_variable);
  EXPECT_EQ(by_variable->key->bytes(), key.bytes());
  EXPECT_EQ(by_variable->server_key, key.public_key());
  EXPECT_EQ(error_of({.token = {}, .key = "/none.key", .server_key = {}}, {}),
            "--key: cannot read /none.key: no such file");
}

}  // namespace
}  // namespace backplane
