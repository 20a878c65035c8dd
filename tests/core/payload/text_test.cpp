#include "core/payload/text.hpp"

#include <string>

#include <gtest/gtest.h>

namespace backplane {
namespace {

TEST(Escapes, AreReversedToTheSameBytes) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  all += "\\n\\x41\\\\";
  std::string escaped;
  append_escaped(all, escaped);
  EXPECT_EQ(unescape(escaped), all);
}

TEST(Escapes, ThatAreUnknownAreUnchanged) {
  EXPECT_EQ(unescape(R"(\q \ \xZZ \x4 \)"), R"(\q \ \xZZ \x4 \)");
  EXPECT_EQ(unescape(R"(\x4Aa\x4a\\x41)"), R"(JaJ\x41)");
}

TEST(Base64, PadsAsRfc4648Says) {
  const auto base64 = [](std::string_view bytes) {
    std::string out;
    append_base64(bytes, out);
    return out;
  };
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foob"), "Zm9vYg==");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
}

TEST(JsonStrings, AreJsonWhateverTheBytes) {
  std::string out;
  append_json_string("\xff\x80 ok", out);
  EXPECT_EQ(out, "\"\\u00ff\\u0080 ok\"");
}

// Words are checked as a whole: every byte must be found at every place in a word, beside every neighbour.
TEST(Escapes, FindEveryByteAtEveryPlace) {
  for (int byte = 0; byte < 256; ++byte) {
    for (const char beside : {'x', '\x1f', ' ', '!', '\x80', '~'}) {
      for (std::size_t at = 0; at < 20; ++at) {
        std::string text(20, beside);
        text[at] = static_cast<char>(byte);
        std::string escaped;
        append_escaped(text, escaped);
        ASSERT_EQ(unescape(escaped), text);
        std::string json;
        append_json_string(text, json);
        const std::string_view inner = std::string_view(json).substr(1, json.size() - 2);
        for (const std::string_view out : {std::string_view(escaped), inner}) {
          for (const char c : out) ASSERT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) << byte;
        }
        ASSERT_TRUE(byte != '"' || inner.find("\\\"") != std::string_view::npos);
        ASSERT_TRUE(byte != '\\' || inner.find("\\\\") != std::string_view::npos);
      }
    }
  }
}

}  // namespace
}  // namespace backplane
