#include "core/credentials/token_hash.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// A test vector of the reference implementation of argon2, for "password".
constexpr std::string_view foreign_hash =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

TEST(TokenHash, AcceptsItsTokenAndNoOther) {
  const std::string hash = hash_token("s3cret").value();
  EXPECT_THAT(hash, StartsWith("$argon2id$v=19$m=65536,t=2,p=1$"));
  EXPECT_TRUE(check_token_hash(hash, "token"));
  EXPECT_TRUE(is_token_of_hash("s3cret", hash));
  EXPECT_FALSE(is_token_of_hash("s3cret ", hash));
  EXPECT_FALSE(is_token_of_hash("s3cre", hash));
  EXPECT_FALSE(is_token_of_hash("", hash));
}

TEST(TokenHash, OneTokenHasManyHashes) {
  EXPECT_NE(hash_token("s3cret").value(), hash_token("s3cret").value());
}

TEST(TokenHash, OfOtherProgramsIsAccepted) {
  EXPECT_TRUE(check_token_hash(foreign_hash, "token"));
  EXPECT_TRUE(is_token_of_hash("password", foreign_hash));
  EXPECT_FALSE(is_token_of_hash("Password", foreign_hash));
}

TEST(TokenHash, OtherTextIsRefusedAndNotRepeated) {
  const std::string salt_and_hash = "$c2FsdHNhbHRzYWx0$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI";
  EXPECT_TRUE(check_token_hash("$argon2id$v=19$m=262144,t=16,p=1" + salt_and_hash, "token"));
  for (const std::string& wrong :
       {std::string("s3cret"), std::string(), "$argon2i$v=19$m=65536,t=2,p=1" + salt_and_hash,
        "$argon2id$v=16$m=65536,t=2,p=1" + salt_and_hash, "$argon2id$v=19$m=262145,t=2,p=1" + salt_and_hash,
        "$argon2id$v=19$m=99999999999,t=2,p=1" + salt_and_hash, "$argon2id$v=19$m=-1,t=2,p=1" + salt_and_hash,
        "$argon2id$v=19$m=,t=2,p=1" + salt_and_hash, "$argon2id$v=19$m=065536,t=2,p=1" + salt_and_hash,
        "$argon2id$v=19$m=65536,t=17,p=1" + salt_and_hash, "$argon2id$v=19$m=65536,t=2,p=2" + salt_and_hash,
        "$argon2id$v=19$m=65536,t=2,p=1" + salt_and_hash + "$",
        "$argon2id$v=19$m=65536,t=2,p=1" + salt_and_hash + "=",
        "$argon2id$v=19$m=65536,t=2,p=1" + salt_and_hash.substr(0, 20),
        "$argon2id$v=19$m=65536,t=2,p=1$$" + std::string(43, 'a'),
        "$argon2id$v=19$m=65536,t=2,p=1" + salt_and_hash + std::string(100, 'a')}) {
    const auto checked = check_token_hash(wrong, "users.toml:3");
    ASSERT_FALSE(checked) << wrong;
    EXPECT_THAT(checked.error().text, StartsWith("users.toml:3: expected a line of `backplane policy hash`"));
    EXPECT_THAT(checked.error().text, Not(HasSubstr("s3cret")));
  }
}

TEST(Token, CanBeSentInEveryProtocol) {
  EXPECT_TRUE(check_token("!~s3cret", "token"));
  EXPECT_TRUE(check_token(std::string(token_bytes_max, 'x'), "token"));
  EXPECT_EQ(
      check_token("s3 cret", "token").error().text,
      "token: expected a token of 1..512 printable ASCII characters without spaces, got another character");
  for (const std::string& wrong : {std::string(), std::string(token_bytes_max + 1, 'x'), std::string("a\n"),
                                   std::string("a\0b", 3), std::string("\xc3\xa9")}) {
    EXPECT_FALSE(check_token(wrong, "token")) << wrong;
  }
}

}  // namespace
}  // namespace backplane
