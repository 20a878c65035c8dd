#pragma once
// What a ZeroMQ client sends and receives.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/zmtp/command.hpp"
#include "core/zmtp/frame.hpp"
#include "core/zmtp/message_reader.hpp"

namespace backplane::gateway::zmtp_peer {

inline constexpr std::size_t greeting_bytes = 64;

inline std::string greeting(std::string_view mechanism = "NULL") {
  std::string bytes = std::string("\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01", 12);
  bytes.append(mechanism).append(20 - mechanism.size(), '\0');
  return bytes.append(32, '\0');
}

inline std::string command(std::string_view name, std::string_view data = {}) {
  std::string bytes;
  zmtp::append_command(name, data, bytes);
  return bytes;
}

inline std::string metadata(std::string_view type) {
  std::string data;
  zmtp::append_property("Socket-Type", type, data);
  return data;
}

inline std::string hello(std::string_view type) {
  return greeting() + command("READY", metadata(type));
}

inline std::string message(const std::vector<std::string_view>& frames) {
  std::string bytes;
  zmtp::append_message(frames, bytes);
  return bytes;
}

/// What a client has received.
struct Received final : zmtp::MessageReader::Sink {
  std::vector<std::pair<std::string, std::string>> messages;  ///< topic and event
  std::vector<std::string> commands;
  zmtp::Fault on_message(std::span<const std::string_view> frames) override {
    EXPECT_EQ(frames.size(), 2U);
    messages.emplace_back(frames.front(), frames.back());
    return zmtp::Fault::none;
  }
  zmtp::Fault on_command(std::string_view body) override {
    commands.emplace_back(body);
    return zmtp::Fault::none;
  }
  [[nodiscard]] std::vector<std::string> topics() const {
    std::vector<std::string> all;
    for (const auto& each : messages) all.push_back(each.first);
    return all;
  }
};

inline Received received(std::string_view bytes) {
  Received result;
  const zmtp::Limits limits;
  zmtp::MessageReader reader(limits, /*with_commands=*/true);
  EXPECT_EQ(reader.read(bytes, result), zmtp::Fault::none);
  return result;
}

}  // namespace backplane::gateway::zmtp_peer
