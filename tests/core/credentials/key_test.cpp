#include "core/credentials/key.hpp"

#include <string>

#include <gtest/gtest.h>
#include <zmq.h>

namespace backplane {
namespace {

// The example of the specification, https://rfc.zeromq.org/spec/26.
constexpr std::string_view specified_text = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
constexpr std::array<std::uint8_t, key_bytes> specified_bytes{
    0xBB, 0x88, 0x47, 0x1D, 0x65, 0xE2, 0x65, 0x9B, 0x30, 0xC5, 0x5A, 0x53, 0x21, 0xCE, 0xBB, 0x5A,
    0xAB, 0x2B, 0x70, 0xA3, 0x98, 0x64, 0x5C, 0x26, 0xDC, 0xA2, 0xB2, 0xFC, 0xB4, 0x3F, 0xC5, 0x18};

TEST(Key, IsTheTextThatTheSpecificationShows) {
  EXPECT_EQ(parse_public_key(specified_text, "key").value().bytes, specified_bytes);
  EXPECT_EQ(to_text(PublicKey{specified_bytes}), specified_text);
}

TEST(Key, AgreesWithLibzmq) {
  for (int round = 0; round < 100; ++round) {
    const SecretKey key = make_secret_key();
    const std::string secret = to_text(key);
    std::array<char, key_text_bytes + 1> public_text{};
    ASSERT_EQ(::zmq_curve_public(public_text.data(), secret.c_str()), 0);
    EXPECT_EQ(to_text(key.public_key()), public_text.data());
    EXPECT_EQ(parse_secret_key(secret, "key")->bytes(), key.bytes());
  }
}

TEST(Key, EachIsDifferent) {
  EXPECT_NE(make_secret_key().bytes(), make_secret_key().bytes());
}

TEST(Key, TheLargestValueIsAKeyAndTheNextIsNone) {
  std::array<std::uint8_t, key_bytes> largest{};
  largest.fill(0xff);
  const std::string text = to_text(PublicKey{largest});
  EXPECT_EQ(text.substr(0, 5), "%nSc0");
  EXPECT_EQ(parse_public_key(text, "key")->bytes, largest);
  EXPECT_EQ(parse_public_key("%nSc1" + text.substr(5), "key").error().text,
            "key: expected a key of 40 Z85 characters, got too large a number at 1");
  EXPECT_FALSE(parse_public_key(text.substr(5) + "#####", "key"));
}

TEST(Key, AnErrorDoesNotContainTheText) {
  const std::string text(specified_text);
  EXPECT_EQ(parse_secret_key(text.substr(1), "a.key").error().text,
            "a.key: expected a key of 40 Z85 characters, got 39 characters");
  EXPECT_EQ(parse_secret_key(text + "0", "a.key").error().text,
            "a.key: expected a key of 40 Z85 characters, got 41 characters");
  for (const char bad : {' ', '"', '\\', '\'', ',', ';', '_', '`', '|', '~', '\0', '\x80', '\xff'}) {
    std::string wrong = text;
    wrong[6] = bad;
    EXPECT_EQ(parse_secret_key(wrong, "a.key").error().text,
              "a.key: expected a key of 40 Z85 characters, got another character at 7");
  }
}

}  // namespace
}  // namespace backplane
