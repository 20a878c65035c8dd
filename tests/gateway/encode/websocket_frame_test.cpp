#include "gateway/encode/websocket_frame.hpp"

#include <string>

#include <gtest/gtest.h>

#include "core/wire/scan.hpp"

namespace backplane::gateway::websocket {
namespace {

std::string frame(Opcode opcode, std::string_view payload) {
  std::string out = "before";
  append_frame(opcode, payload, out);
  EXPECT_EQ(out.substr(0, 6), "before");
  return out.substr(6);
}

TEST(WebSocketFrame, HasTheShortestFormOfItsLength) {
  const auto head = [](std::size_t size) {
    const std::string all = frame(Opcode::text, std::string(size, 'x'));
    EXPECT_TRUE(all.ends_with(std::string(size, 'x')));
    return all.substr(0, all.size() - size);
  };
  EXPECT_EQ(head(0), std::string("\x81\x00", 2));
  EXPECT_EQ(head(1), "\x81\x01");
  EXPECT_EQ(head(125), "\x81\x7d");
  EXPECT_EQ(head(126), std::string("\x81\x7e\x00\x7e", 4));
  EXPECT_EQ(head(65535), "\x81\x7e\xff\xff");
  EXPECT_EQ(head(65536), std::string("\x81\x7f\0\0\0\0\0\x01\0\0", 10));
}

TEST(WebSocketFrame, HasTheOpcodeOfAControlFrame) {
  EXPECT_EQ(frame(Opcode::ping, ""), std::string("\x89\x00", 2));
  EXPECT_EQ(frame(Opcode::pong, "abc"),
            "\x8a\x03"
            "abc");
}

TEST(WebSocketFrame, OfACloseHasACodeAndAReason) {
  std::string out;
  append_close(CloseCode::going_away, "drain", out);
  EXPECT_EQ(out,
            "\x88\x07\x03\xe9"
            "drain");
}

TEST(WebSocketFrame, OfACloseCutsItsReasonBetweenCharacters) {
  std::string reason = "x";
  for (int i = 0; i < 100; ++i) reason += "ü";
  std::string out;
  append_close(CloseCode::protocol_error, reason, out);
  EXPECT_EQ(out.size(), 2u + 2u + 123u);
  EXPECT_TRUE(wire::is_utf8(std::string_view(out).substr(4)));
  out.clear();
  append_close(CloseCode::protocol_error, reason.substr(1), out);
  EXPECT_EQ(out.size(), 2u + 2u + 122u);
  EXPECT_TRUE(wire::is_utf8(std::string_view(out).substr(4)));
}

TEST(WebSocketFrame, ContainsOneLineWithoutItsEnd) {
  std::string out = "before\n";
  frame_lines(out.size(), out);
  EXPECT_EQ(out, "before\n");
  const std::string large(200, 'x');
  out += "one\n\n" + large + "\nhalf";
  frame_lines(7, out);
  EXPECT_EQ(out,
            "before\n"
            "\x81\x03"
            "one" +
                std::string("\x81\x00", 2) + std::string("\x81\x7e\x00\xc8", 4) + large +
                "\x81\x04"
                "half");
}

TEST(WebSocketFrame, OfACloseMayHaveStandardAndApplicationCodes) {
  for (const int good :
       {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}) {
    EXPECT_TRUE(may_be_sent(static_cast<std::uint16_t>(good))) << good;
  }
  for (const int bad : {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
    EXPECT_FALSE(may_be_sent(static_cast<std::uint16_t>(bad))) << bad;
  }
}

}  // namespace
}  // namespace backplane::gateway::websocket
