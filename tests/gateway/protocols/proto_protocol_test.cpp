#include <limits>
#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backplane/v1/session.pb.h"
#include "core/wire/write.hpp"
#include "gateway/protocols/proto/client_message.hpp"
#include "gateway/protocols/proto/message_reader.hpp"
#include "tests/golden/golden.hpp"

namespace backplane::gateway::proto {
namespace {

using ::testing::ElementsAre;
using v1::ClientMessage;
using Fault = MessageReader::Fault;

std::string framed(const std::string& message) {
  std::string out;
  wire::append_varint(message.size(), out);
  return out + message;
}

struct Read {
  std::vector<std::string> messages;
  Fault fault{Fault::none};
  bool at_boundary{};
};

Read read(std::string_view bytes, std::size_t piece, std::size_t message_bytes_max = 1000) {
  MessageReader reader(message_bytes_max);
  Read result;
  const auto on_message = [&](std::string_view message) {
    result.messages.emplace_back(message);
    return true;
  };
  for (std::size_t at = 0; at < bytes.size() && result.fault == Fault::none; at += piece) {
    result.fault = reader.read(bytes.substr(at, piece), on_message);
  }
  result.at_boundary = reader.at_boundary();
  return result;
}

TEST(MessageReader, ReadsTheSameMessagesFromPiecesOfAnySize) {
  const std::string large(300, 'x');
  const std::string bytes = framed("one") + framed("") + framed(large) + framed("two") + framed("half");
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    const Read whole = read(bytes, piece);
    EXPECT_THAT(whole.messages, ElementsAre("one", "", large, "two", "half"));
    EXPECT_TRUE(whole.at_boundary);
    const Read cut = read(std::string_view(bytes).substr(0, bytes.size() - 1), piece);
    EXPECT_THAT(cut.messages, ElementsAre("one", "", large, "two"));
    EXPECT_EQ(cut.fault, Fault::none);
    EXPECT_FALSE(cut.at_boundary);
  }
}

TEST(MessageReader, FailsOnAnInvalidOrTooLargeLength) {
  for (std::size_t piece = 1; piece <= 8; ++piece) {
    const Read endless = read(framed("a") + std::string(6, '\xff') + framed("b"), piece);
    EXPECT_THAT(endless.messages, ElementsAre("a"));
    EXPECT_EQ(endless.fault, Fault::bad_length);
    EXPECT_FALSE(endless.at_boundary);
    EXPECT_EQ(read(framed(std::string(11, 'x')), piece, 10).fault, Fault::too_long);
    EXPECT_THAT(read(framed(std::string(10, 'x')), piece, 10).messages, ElementsAre(std::string(10, 'x')));
    EXPECT_EQ(read("\xff\xff\xff\xff\x0f", piece).fault, Fault::too_long);
  }
}

TEST(MessageReader, ReportsAMessageThatIsTooLongBeforeItArrives) {
  MessageReader reader(10);
  EXPECT_EQ(reader.read("\x0b", [](std::string_view) { return true; }), Fault::too_long);
  EXPECT_EQ(reader.read(framed("a"), [](std::string_view) -> bool { throw 1; }), Fault::too_long);
}

TEST(MessageReader, StopsWhenTheCallbackReturnsFalse) {
  MessageReader reader(10);
  int messages = 0;
  const auto stop = [&](std::string_view) { return ++messages < 2; };
  EXPECT_EQ(reader.read(framed("a") + framed("b") + framed("c"), stop), Fault::none);
  EXPECT_EQ(messages, 2);
}

Command parse(const ClientMessage& message) {
  return parse_message(message.SerializeAsString());
}

std::string code_of(const ClientMessage& message) {
  const Command command = parse(message);
  const auto* bad = std::get_if<BadCommand>(&command);
  return bad == nullptr ? "" : bad->code;
}

ClientMessage subscribing(const std::string& pattern) {
  ClientMessage message;
  message.mutable_subscribe()->set_pattern(pattern);
  return message;
}

TEST(ClientMessages, AreTheCommandsOfTheLineProtocol) {
  ClientMessage message = subscribing("stock.>");
  const auto plain = std::get<Subscribe>(parse(message));
  EXPECT_EQ(plain.pattern.str(), "stock.>");
  EXPECT_FALSE(plain.last || plain.policy);
  EXPECT_EQ(plain.every.count(), 0);
  EXPECT_EQ(plain.since.index(), 0u);

  message.mutable_subscribe()->set_last(true);
  message.mutable_subscribe()->mutable_every()->set_seconds(5);
  message.mutable_subscribe()->mutable_ago()->set_seconds(600);
  message.mutable_subscribe()->set_policy(ClientMessage::POLICY_LATEST);
  const auto full = std::get<Subscribe>(parse(message));
  EXPECT_TRUE(full.last);
  EXPECT_EQ(full.every, std::chrono::seconds{5});
  EXPECT_EQ(std::get<std::chrono::nanoseconds>(full.since), std::chrono::minutes{10});
  EXPECT_EQ(full.policy, fanout::Policy::latest);

  message.mutable_subscribe()->set_resume("00c0ffee0000002a:9");
  const auto resumed = std::get<Subscribe>(parse(message));
  EXPECT_THAT(std::get<AfterPositions>(resumed.since).positions,
              ElementsAre(StreamPosition{0x00c0ffee0000002a, 9}));
  message = subscribing("clock");
  message.mutable_subscribe()->set_offset(17);
  EXPECT_EQ(std::get<AfterOffset>(std::get<Subscribe>(parse(message)).since).offset, 17u);

  message.mutable_unsubscribe()->set_pattern("stock.>");
  EXPECT_EQ(std::get<Unsubscribe>(parse(message)).pattern, "stock.>");
  message.mutable_publish()->set_topic("news.uk");
  message.mutable_publish()->set_text("a\\n\nb");
  EXPECT_EQ(std::get<Publish>(parse(message)).topic, "news.uk");
  EXPECT_EQ(std::get<Publish>(parse(message)).text, "a\\n\nb");
  message.mutable_set_policy()->set_policy(ClientMessage::POLICY_DISCONNECT);
  EXPECT_EQ(std::get<SetPolicy>(parse(message)).policy, fanout::Policy::disconnect);
  message.mutable_list_topics();
  EXPECT_EQ(std::get<ListTopics>(parse(message)).pattern, ">");
  message.mutable_list_topics()->set_pattern("stock.*");
  EXPECT_EQ(std::get<ListTopics>(parse(message)).pattern, "stock.*");
  message.mutable_ping();
  EXPECT_TRUE(std::holds_alternative<Ping>(parse(message)));
  message.mutable_quit();
  EXPECT_TRUE(std::holds_alternative<Quit>(parse(message)));
}

TEST(ClientMessages, HaveTheErrorCodesOfTheLineProtocol) {
  EXPECT_EQ(code_of(subscribing("stock..MSFT")), "bad_topic");
  EXPECT_EQ(code_of(subscribing("")), "bad_topic");
  ClientMessage message = subscribing("a");
  for (const std::int64_t seconds :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{86'401}, std::numeric_limits<std::int64_t>::max()}) {
    message.mutable_subscribe()->mutable_every()->set_seconds(seconds);
    EXPECT_EQ(code_of(message), "bad_every") << seconds;
  }
  message = subscribing("a");
  for (const std::int64_t seconds : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{3651} * 86'400,
                                     std::numeric_limits<std::int64_t>::min()}) {
    message.mutable_subscribe()->mutable_ago()->set_seconds(seconds);
    EXPECT_EQ(code_of(message), "bad_since") << seconds;
  }
  message.mutable_subscribe()->mutable_ago()->set_seconds(1);
  message.mutable_subscribe()->mutable_ago()->set_nanos(-1);
  EXPECT_EQ(code_of(message), "bad_since");
  message.mutable_subscribe()->set_resume("rubbish");
  EXPECT_EQ(code_of(message), "bad_since");
  message = subscribing("a.>");
  message.mutable_subscribe()->set_offset(17);
  EXPECT_EQ(code_of(message), "offset_needs_exact_topic");
  message = subscribing("a");
  message.mutable_subscribe()->set_policy(static_cast<ClientMessage::Policy>(77));
  EXPECT_EQ(code_of(message), "bad_policy");
  message.mutable_set_policy();
  EXPECT_EQ(code_of(message), "bad_policy");
  message.mutable_unsubscribe();
  EXPECT_EQ(code_of(message), "bad_topic");
  message.mutable_publish()->set_topic("$SYS.x");
  EXPECT_EQ(code_of(message), "bad_topic");
  message.mutable_publish()->set_topic("a");
  EXPECT_EQ(code_of(message), "bad_argument");
  message.mutable_list_topics()->set_pattern("a..b");
  EXPECT_EQ(code_of(message), "bad_topic");
}

TEST(ClientMessages, WithoutACommandAreMalformed) {
  for (const std::string bytes : {"", "\xff", "\x0a\x05x", "\xfa\x01\x00"}) {
    EXPECT_EQ(std::get<BadCommand>(parse_message(bytes)).code, "malformed");
  }
}

TEST(ClientMessages, AreParsedFromTheGoldenBytes) {
  const Read golden = read(golden::bytes("client_messages.hex"), 7);
  ASSERT_EQ(golden.messages.size(), 2u);
  const auto subscribe = std::get<Subscribe>(parse_message(golden.messages[0]));
  EXPECT_EQ(subscribe.pattern.str(), "stock.>");
  EXPECT_TRUE(subscribe.last);
  EXPECT_TRUE(std::holds_alternative<Ping>(parse_message(golden.messages[1])));
}

}  // namespace
}  // namespace backplane::gateway::proto
