#include "core/zmtp/message_reader.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/zmtp/command.hpp"
#include "core/zmtp/frame.hpp"

namespace backplane::zmtp {
namespace {

using namespace std::string_literals;

using Frames = std::vector<std::string>;

struct Recorder final : MessageReader::Sink {
  std::vector<Frames> messages;
  std::vector<std::string> commands;
  Fault reply = Fault::none;
  Fault on_message(std::span<const std::string_view> frames) override {
    messages.emplace_back(frames.begin(), frames.end());
    return reply;
  }
  Fault on_command(std::string_view command) override {
    commands.emplace_back(command);
    return reply;
  }
};

constexpr Limits small{
    .frame_bytes_max = 1000, .message_bytes_max = 1500, .frames_max = 4, .command_bytes_max = 100};

Fault read(std::string_view bytes, Recorder& recorder, std::size_t piece = 1u << 20,
           const Limits& limits = small, bool with_commands = true) {
  MessageReader reader(limits, with_commands);
  Fault fault = Fault::none;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size())))
    fault = reader.read(bytes.substr(0, piece), recorder);
  return fault;
}

std::string frame(unsigned flags, std::string_view body) {
  std::string bytes;
  append_frame(flags, body, bytes);
  return bytes;
}

TEST(MessageReader, AMessageIsItsFramesHoweverTheBytesArrive) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same cases in every run
  std::vector<Frames> sent;
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    Frames frames(1 + random() % 4);
    for (std::string& each : frames)
      each.assign(random() % 3 == 0 ? random() % 370 : random() % 9, static_cast<char>(random()));
    append_message(std::vector<std::string_view>(frames.begin(), frames.end()), bytes);
    sent.push_back(std::move(frames));
  }
  for (const std::size_t piece : {1U, 2U, 3U, 7U, 64U, 255U, 4096U, 1U << 20}) {
    Recorder got;
    EXPECT_EQ(read(bytes, got, piece), Fault::none);
    EXPECT_EQ(got.messages, sent) << "in pieces of " << piece;
  }
}

TEST(MessageReader, ACommandBetweenTheFramesOfAMessageIsNoPartOfIt) {
  std::string bytes;
  append_frame(flag::more, "topic", bytes);
  append_command(command::ping, "\0\0a"s, bytes);
  append_command(command::ping, "\0\0b"s, bytes);
  append_frame(0, "payload", bytes);
  append_command(command::pong, "c", bytes);
  append_frame(0, "next", bytes);
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    Recorder got;
    EXPECT_EQ(read(bytes, got, piece), Fault::none);
    EXPECT_EQ(got.messages, (std::vector<Frames>{{"topic", "payload"}, {"next"}}))
        << "in pieces of " << piece;
    EXPECT_EQ(got.commands, (std::vector<std::string>{"\x04PING\0\0a"s, "\x04PING\0\0b"s, "\x04PONGc"}));
  }
}

TEST(MessageReader, AShortFrameMayHaveALongLength) {
  Recorder got;
  EXPECT_EQ(read("\x02\0\0\0\0\0\0\0\x02hi"s, got), Fault::none);
  EXPECT_EQ(got.messages, (std::vector<Frames>{{"hi"}}));
}

TEST(MessageReader, FlagsThatDoNotExistAreAFault) {
  for (unsigned flags = 0; flags < 256; ++flags) {
    Recorder got;
    std::string bytes(1, static_cast<char>(flags));
    bytes.append(20, '\0');
    const bool good = flags <= 4 || flags == 6;
    EXPECT_EQ(read(bytes, got) == Fault::bad_frame, !good) << flags;
  }
  Recorder got;
  EXPECT_EQ(read("\x04\x05\x04PING"s, got, 1, small, /*with_commands=*/false), Fault::bad_frame);
}

TEST(MessageReader, EveryLimitIsAFaultOfItsOwnAsSoonAsItIsExceeded) {
  const std::string most(small.frame_bytes_max, 'x');
  Recorder got;
  EXPECT_EQ(read(frame(0, most), got), Fault::none);
  EXPECT_EQ(read("\x02\0\0\0\0\0\0\x03\xe9"s, got), Fault::frame_too_long);
  EXPECT_EQ(read("\x02\x80\0\0\0\0\0\0\0"s, got), Fault::frame_too_long);
  EXPECT_EQ(read("\x02\xff\xff\xff\xff\xff\xff\xff\xff"s, got, 1), Fault::frame_too_long);
  EXPECT_EQ(read(frame(flag::more, most) + frame(0, most).substr(0, 9), got), Fault::message_too_long);
  EXPECT_EQ(read(frame(flag::more, "") + frame(flag::more, "") + frame(flag::more, "") + frame(0, ""), got),
            Fault::none);
  const std::string endless = frame(flag::more, "");
  EXPECT_EQ(read(endless + endless + endless + endless + endless, got, 1), Fault::too_many_frames);
  EXPECT_EQ(read("\x04\x65"s, got), Fault::command_too_long);
  EXPECT_EQ(read("\x06\0\0\0\0\0\0\x01\0"s, got), Fault::command_too_long);
}

TEST(MessageReader, AfterAFaultAllBytesAreIgnored) {
  MessageReader reader(small, true);
  Recorder got;
  got.reply = Fault::bad_subscription;
  EXPECT_EQ(reader.read(frame(0, "a") + frame(0, "b"), got), Fault::bad_subscription);
  EXPECT_EQ(reader.read(frame(0, "c"), got), Fault::bad_subscription);
  EXPECT_EQ(got.messages, (std::vector<Frames>{{"a"}}));
}

}  // namespace
}  // namespace backplane::zmtp
