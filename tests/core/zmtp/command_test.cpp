#include "core/zmtp/command.hpp"

#include <string>

#include <gtest/gtest.h>

#include "core/zmtp/socket_type.hpp"

namespace backplane::zmtp {
namespace {

using namespace std::string_literals;

TEST(Command, IsANameAndData) {
  const auto command = parse_command("\x05READYabc");
  ASSERT_TRUE(command);
  EXPECT_EQ(command->name, "READY");
  EXPECT_EQ(command->data, "abc");
  EXPECT_FALSE(parse_command(""));
  EXPECT_FALSE(parse_command("\0abc"s));
  EXPECT_FALSE(parse_command("\x05READ"));
}

TEST(Command, MetadataIsAListOfProperties) {
  std::string data;
  append_property("socket-TYPE", "SUB", data);
  append_property("X-colour", "blue", data);
  append_property("Identity", "\0me"s, data);
  const auto metadata = parse_metadata(data);
  ASSERT_TRUE(metadata);
  EXPECT_EQ(metadata->socket_type, "SUB");
  EXPECT_EQ(metadata->identity, "\0me"s);
  for (std::size_t end = 1; end < data.size(); ++end) {
    const bool between = end == 19 || end == 19 + 17;
    EXPECT_EQ(parse_metadata(std::string_view(data).substr(0, end)).has_value(), between) << end;
  }
  EXPECT_FALSE(parse_metadata("\0\0\0\0\0"s)) << "a name is not empty";
  EXPECT_FALSE(parse_metadata(data + data)) << "a peer has one socket type";
  EXPECT_FALSE(parse_metadata("\x01x\xff\xff\xff\xff"s));
}

TEST(Command, PingAndHelloAndErrorAreExact) {
  const auto ping = parse_ping(
      "\x01\x02"
      "0123456789abcdef");
  ASSERT_TRUE(ping);
  EXPECT_EQ(ping->ttl_ds, 0x102);
  EXPECT_EQ(ping->context, "0123456789abcdef");
  EXPECT_FALSE(parse_ping("\x01"));
  EXPECT_FALSE(
      parse_ping("\x01\x02"
                 "0123456789abcdefg"));
  const auto hello = parse_plain_hello("\x03you\x02me");
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->username, "you");
  EXPECT_EQ(hello->password, "me");
  EXPECT_TRUE(parse_plain_hello("\0\0"s));
  EXPECT_FALSE(parse_plain_hello("\x03you"));
  EXPECT_FALSE(parse_plain_hello("\x03you\x03me"));
  EXPECT_FALSE(parse_plain_hello("\x03you\x02meX"));
  EXPECT_EQ(parse_error("\x03"
                        "400"),
            "400");
  EXPECT_FALSE(
      parse_error("\x04"
                  "400"));
  std::string error;
  append_error(std::string(300, 'x'), error);
  EXPECT_EQ(error,
            "\x06\0\0\0\0\0\0\x01\x06\x05"
            "ERROR\xff"s +
                std::string(255, 'x'));
}

TEST(SocketType, HasANameANumberAndACounterpart) {
  EXPECT_EQ(parse_socket_type("XSUB"), SocketType::xsub);
  EXPECT_EQ(parse_socket_type("sub"), std::nullopt);
  EXPECT_EQ(parse_socket_type(""), std::nullopt);
  EXPECT_EQ(socket_type_of(2), SocketType::sub);
  EXPECT_EQ(socket_type_of(10), SocketType::xsub);
  EXPECT_EQ(socket_type_of(11), std::nullopt);
  EXPECT_EQ(counterpart(SocketType::sub), SocketType::xpub);
  EXPECT_EQ(counterpart(SocketType::pub), SocketType::xsub);
  EXPECT_EQ(counterpart(SocketType::req), SocketType::router);
}

}  // namespace
}  // namespace backplane::zmtp
