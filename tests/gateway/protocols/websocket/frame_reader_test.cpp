#include "gateway/protocols/websocket/frame_reader.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/protocols/websocket/client_frame.hpp"

namespace backplane::gateway::websocket {
namespace {

using ::testing::ElementsAre;

constexpr LineReader::Limits limits{.line_bytes_max = 1000, .publish_bytes_max = 70'000};

/// The messages, as `text hello`, `ping x`, `close `; then the close code if the connection must be closed.
struct Read {
  std::vector<std::string> messages;
  std::optional<CloseCode> fault;
  bool operator==(const Read&) const = default;
};

void PrintTo(const Read& read, std::ostream* out) {
  for (const std::string& each : read.messages) *out << '[' << each.substr(0, 60) << "] ";
  *out << (read.fault ? static_cast<int>(*read.fault) : 0);
}

std::string_view word(Opcode opcode) {
  switch (opcode) {
    case Opcode::text:
      return "text ";
    case Opcode::ping:
      return "ping ";
    case Opcode::pong:
      return "pong ";
    case Opcode::close:
      return "close ";
    default:
      return "? ";
  }
}

Read read(std::string_view bytes, std::size_t piece) {
  FrameReader reader(limits);
  Read result;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    const auto fault = reader.read(bytes.substr(at, piece), [&](Opcode what, std::string_view payload) {
      result.messages.push_back(std::string(word(what)) + std::string(payload));
      return true;
    });
    if (fault) {
      EXPECT_FALSE(fault->text.empty());
      result.fault = fault->code;
    }
  }
  return result;
}

struct Case {
  std::string name;
  std::string bytes;
  Read expected;
};

const std::string greeting = "Hello-µ@ßöäüàá-UTF-8!!";
const std::string kosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

std::string frame(unsigned opcode, std::string payload, unsigned reserved) {
  return ClientFrame{.opcode = opcode, .payload = std::move(payload), .reserved = reserved}.bytes();
}

std::string long_form(unsigned opcode, std::string payload, unsigned form) {
  return ClientFrame{.opcode = opcode, .payload = std::move(payload), .length_form = form}.bytes();
}

/// The head of a frame of the given size, followed by only some of its bytes.
std::string head_of(std::uint64_t size, std::string_view begun = {}) {
  std::string out = "\x81\xff";
  for (unsigned i = 8; i-- > 0;) out.push_back(static_cast<char>(size >> (8 * i) & 0xff));
  return out.append(4, '\0').append(begun);
}

// The cases of the Autobahn test suite, by their numbers, that concern a server of text.
std::vector<Case> cases() {
  const std::string big = "PUB a " + std::string(65'530, '*');
  std::vector<Case> all{
      {"1.1.1 empty text", text(""), {{"text "}, {}}},
      {"1.1.2 125 bytes", text(std::string(125, '*')), {{"text " + std::string(125, '*')}, {}}},
      {"1.1.3 126 bytes", text(std::string(126, '*')), {{"text " + std::string(126, '*')}, {}}},
      {"1.1.4 127 bytes", text(std::string(127, '*')), {{"text " + std::string(127, '*')}, {}}},
      {"1.1.6 65535 bytes", text(big.substr(0, 65'535)), {{"text " + big.substr(0, 65'535)}, {}}},
      {"1.1.7 65536 bytes", text(big), {{"text " + big}, {}}},
      {"1 two messages", text("one") + text("two"), {{"text one", "text two"}, {}}},
      {"1 the second is not UTF-8", text("one") + text("\xff"), {{"text one"}, CloseCode::not_utf8}},
      {"1.2 binary", text("a") + binary("x"), {{"text a"}, CloseCode::unsupported}},
      {"1.2 binary in fragments",
       ClientFrame{.opcode = 2, .payload = "x", .final = false}.bytes(),
       {{}, CloseCode::unsupported}},
      {"2.1 ping", ping(), {{"ping "}, {}}},
      {"2.3 ping with bytes",
       ping(std::string("\x00\xff\xfe", 3)),
       {{"ping " + std::string("\x00\xff\xfe", 3)}, {}}},
      {"2.4 ping of 125 bytes", ping(std::string(125, '\xfe')), {{"ping " + std::string(125, '\xfe')}, {}}},
      {"2.5 ping of 126 bytes", ping(std::string(126, '\xfe')), {{}, CloseCode::protocol_error}},
      {"2.7 pong that nobody asked for", pong("x") + ping("y"), {{"pong x", "ping y"}, {}}},
      {"2.10 pings", ping("1") + ping("2") + ping("3"), {{"ping 1", "ping 2", "ping 3"}, {}}},
      {"3.1 reserved bit", frame(1, "x", 1), {{}, CloseCode::protocol_error}},
      {"3.2 reserved bit behind a message",
       text("a") + frame(1, "x", 2),
       {{"text a"}, CloseCode::protocol_error}},
      {"3.4 another reserved bit", frame(1, "x", 4), {{}, CloseCode::protocol_error}},
      {"3.6 reserved bits of a ping", frame(9, "x", 7), {{}, CloseCode::protocol_error}},
      {"3.7 reserved bits of a close", frame(8, "", 7), {{}, CloseCode::protocol_error}},
      {"5.1 ping in fragments",
       ClientFrame{.opcode = 9, .payload = "x", .final = false}.bytes() + more("y"),
       {{}, CloseCode::protocol_error}},
      {"5.2 pong in fragments",
       ClientFrame{.opcode = 10, .payload = "x", .final = false}.bytes(),
       {{}, CloseCode::protocol_error}},
      {"5.3 two fragments", text("one", false) + more("two"), {{"text onetwo"}, {}}},
      {"5.6 ping between them",
       text("one", false) + ping("p") + more("two"),
       {{"ping p", "text onetwo"}, {}}},
      {"5.9 continuation of nothing", more("x") + text("y"), {{}, CloseCode::protocol_error}},
      {"5.12 continuation of nothing, not final", more("x", false), {{}, CloseCode::protocol_error}},
      {"5.14 continuation behind a message",
       text("a", false) + more("b") + more("c", false),
       {{"text ab"}, CloseCode::protocol_error}},
      {"5.18 text within text", text("a", false) + text("b"), {{}, CloseCode::protocol_error}},
      {"5.19 five fragments and pings",
       text("1", false) + more("2", false) + ping("p") + more("3", false) + more("4", false) + ping("q") +
           more("5"),
       {{"ping p", "ping q", "text 12345"}, {}}},
      {"6.1 empty fragments", text("", false) + more("", false) + more(""), {{"text "}, {}}},
      {"6.1.3 empty around one", text("", false) + more("mid", false) + more(""), {{"text mid"}, {}}},
      {"6.2.1 UTF-8", text(greeting), {{"text " + greeting}, {}}},
      {"6.3.1 bad UTF-8", text(kosme + "\xed\xa0\x80" + "edited"), {{}, CloseCode::not_utf8}},
      {"6.4.1 bad UTF-8 in a fragment",
       text(kosme, false) + more("\xf4\x90\x80\x80", false),
       {{}, CloseCode::not_utf8}},
      {"6.4.2 bad as soon as its second byte is there",
       text(kosme + "\xf4", false) + more("\x90", false),
       {{}, CloseCode::not_utf8}},
      {"6.4.3 in the middle of a frame",
       text(kosme + "\xf4\x90" + std::string(900, '*')).substr(0, 8 + kosme.size() + 2),
       {{}, CloseCode::not_utf8}},
      {"6.6.1 half a character", text("\xce"), {{}, CloseCode::not_utf8}},
      {"6.6.2 a character", text("\xce\xba"), {{"text \xce\xba"}, {}}},
      {"6.6.3 a character and a half", text("\xce\xba\xe1"), {{}, CloseCode::not_utf8}},
      {"6.14 continuation byte alone", text("\x80"), {{}, CloseCode::not_utf8}},
      {"6.20 too large to be one", text("\xf5\x80\x80\x80"), {{}, CloseCode::not_utf8}},
      {"6.21 surrogates", text("\xed\xbf\xbf"), {{}, CloseCode::not_utf8}},
      {"6.18 overlong", text("\xc0\xaf"), {{}, CloseCode::not_utf8}},
      {"6.19 overlong", text("\xf0\x8f\xbf\xbf"), {{}, CloseCode::not_utf8}},
      {"6.22 non-characters",
       text("\xef\xbf\xbe\xf0\x9f\xbf\xbf"),
       {{"text \xef\xbf\xbe\xf0\x9f\xbf\xbf"}, {}}},
      {"6.5 the last one", text("\xf4\x8f\xbf\xbf"), {{"text \xf4\x8f\xbf\xbf"}, {}}},
      {"7.1.1 text, close", text("a") + close(1000), {{"text a", "close \x03\xe8"}, {}}},
      {"7.1.2 two closes", close(1000) + close(1000), {{"close \x03\xe8"}, {}}},
      {"7.1.3 ping after a close", close(1000) + ping(), {{"close \x03\xe8"}, {}}},
      {"7.1.4 text after a close", close(1000) + text("a"), {{"close \x03\xe8"}, {}}},
      {"7.1.5 close within a message", text("a", false) + close(1000) + more("b"), {{"close \x03\xe8"}, {}}},
      {"7.3.1 close without a code", close(), {{"close "}, {}}},
      {"7.3.2 half a code of an application", close("\x0f"), {{}, CloseCode::protocol_error}},
      {"7.3.2 half a code", close("\x03"), {{}, CloseCode::protocol_error}},
      {"7.3.5 the longest reason",
       close(1000, std::string(123, '*')),
       {{"close \x03\xe8" + std::string(123, '*')}, {}}},
      {"7.3.6 too long a reason", close(1000, std::string(124, '*')), {{}, CloseCode::protocol_error}},
      {"7.5.1 reason that is not UTF-8", close(1000, kosme + "\xed\xa0\x80"), {{}, CloseCode::not_utf8}},
      {"rfc: no mask",
       ClientFrame{.opcode = 1, .payload = "x", .masked = false}.bytes(),
       {{}, CloseCode::protocol_error}},
      {"rfc: no mask on a ping",
       ClientFrame{.opcode = 9, .payload = "", .masked = false}.bytes(),
       {{}, CloseCode::protocol_error}},
      {"rfc: length not in its shortest form", long_form(1, "x", 2), {{}, CloseCode::protocol_error}},
      {"rfc: 125 in 2 bytes", long_form(1, std::string(125, '*'), 2), {{}, CloseCode::protocol_error}},
      {"rfc: 65535 in 8 bytes", long_form(1, std::string(65'535, '*'), 8), {{}, CloseCode::protocol_error}},
      {"rfc: control length in 2 bytes", long_form(9, "x", 2), {{}, CloseCode::protocol_error}},
      {"rfc: length of 2^63", head_of(1ULL << 63), {{}, CloseCode::protocol_error}},
      {"rfc: length of 2^64 - 1", head_of(~0ULL), {{}, CloseCode::protocol_error}},
      {"9: length of 2^63 - 1", head_of(~0ULL >> 1), {{}, CloseCode::too_large}},
      {"9: PUB at its limit",
       text("PUB a " + std::string(limits.publish_bytes_max - 6, '*')),
       {{"text PUB a " + std::string(limits.publish_bytes_max - 6, '*')}, {}}},
      {"9: PUB above it",
       text("PUB a " + std::string(limits.publish_bytes_max - 5, '*')),
       {{}, CloseCode::too_large}},
      {"9: PUB above it, in the head alone",
       head_of(limits.publish_bytes_max + 1),
       {{}, CloseCode::too_large}},
      {"9: line at its limit", text(std::string(1000, '*')), {{"text " + std::string(1000, '*')}, {}}},
      {"9: line above it", text(std::string(1001, '*')), {{}, CloseCode::too_large}},
      {"9: line that is no PUB yet", text("PUBLISH " + std::string(1000, '*')), {{}, CloseCode::too_large}},
      {"9: line above it in fragments",
       text(std::string(600, '*'), false) + ping("p") + more(std::string(401, '*')),
       {{"ping p"}, CloseCode::too_large}},
      {"9: PUB in fragments",
       text("PU", false) + more("B a " + std::string(2000, '*')),
       {{"text PUB a " + std::string(2000, '*')}, {}}},
      {"9: too long and not UTF-8", text(std::string(1001, '\xff')), {{}, CloseCode::too_large}},
  };
  for (const unsigned opcode : {3u, 4u, 5u, 6u, 7u, 11u, 12u, 13u, 14u, 15u}) {
    all.push_back({"4 reserved opcode " + std::to_string(opcode),
                   text("a") + frame(opcode, "x", 0),
                   {{"text a"}, CloseCode::protocol_error}});
  }
  for (const unsigned code :
       {0u, 999u, 1004u, 1005u, 1006u, 1015u, 1016u, 1100u, 2000u, 2999u, 5000u, 65535u}) {
    all.push_back({"7.9 bad code " + std::to_string(code), close(code), {{}, CloseCode::protocol_error}});
  }
  for (const unsigned code :
       {1000u, 1001u, 1002u, 1003u, 1007u, 1008u, 1009u, 1010u, 1011u, 3000u, 3999u, 4000u, 4999u}) {
    const std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    all.push_back({"7.7 good code " + std::to_string(code), close(code), {{"close " + payload}, {}}});
  }
  return all;
}

TEST(FrameReader, EnforcesTheStandardForPiecesOfAnySize) {
  for (const Case& each : cases()) {
    const std::size_t step = each.bytes.size() > 2000 ? 997 : 1;  // every size takes long for large ones
    for (std::size_t piece = 1; piece <= each.bytes.size(); piece += step) {
      ASSERT_EQ(read(each.bytes, piece), each.expected) << each.name << ", in pieces of " << piece;
    }
    ASSERT_EQ(read(each.bytes, each.bytes.size()), each.expected) << each.name;
  }
}

TEST(FrameReader, ReportsAnInvalidFrameBeforeItIsComplete) {
  const auto fault_after = [](const std::string& bytes) {
    for (std::size_t size = 1; size <= bytes.size(); ++size) {
      if (read(std::string_view(bytes).substr(0, size), 1).fault) return size;
    }
    return std::size_t{0};
  };
  EXPECT_EQ(fault_after(frame(3, "x", 0)), 1u);
  EXPECT_EQ(fault_after(binary("x")), 1u);
  EXPECT_EQ(fault_after(ping(std::string(126, 'x'))), 2u);
  EXPECT_EQ(fault_after(ClientFrame{.opcode = 1, .payload = "x", .masked = false}.bytes()), 2u);
  EXPECT_EQ(fault_after(long_form(1, "x", 8)), 10u);
  EXPECT_EQ(fault_after(head_of(1u << 20)), 10u);
  EXPECT_EQ(fault_after(text(std::string(1001, '*'))), 9u);
  const std::string longest = text(std::string(1000, '*'), false);
  EXPECT_EQ(fault_after(longest + more("x")), longest.size() + 2);
}

TEST(FrameReader, ReadsNothingAfterAFault) {
  FrameReader reader(limits);
  const auto none = [](Opcode, std::string_view) {
    ADD_FAILURE() << "expected no message";
    return true;
  };
  EXPECT_TRUE(reader.read(binary("x"), none));
  const auto again = reader.read(text("a"), none);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->code, CloseCode::unsupported);
}

TEST(FrameReader, StopsWhenTheCallbackReturnsFalse) {
  FrameReader reader(limits);
  std::vector<std::string> taken;
  const auto one = [&](Opcode, std::string_view payload) {
    taken.emplace_back(payload);
    return false;
  };
  EXPECT_FALSE(reader.read(text("a") + text("b"), one));
  EXPECT_FALSE(reader.read(text("c"), one));
  EXPECT_THAT(taken, ElementsAre("a"));
}

}  // namespace
}  // namespace backplane::gateway::websocket
