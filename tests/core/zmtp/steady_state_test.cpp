#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "core/zmtp/connection.hpp"
#include "core/zmtp/frame.hpp"
#include "tests/allocations/counted_new.hpp"

namespace backplane::zmtp {
namespace {

using namespace std::string_literals;

struct Counting final : Connection::Listener {
  Connection* connection{};
  std::size_t messages{};
  void send(std::string_view /*bytes*/) override {}
  void on_credentials(const Credentials& /*credentials*/) override { connection->accept(); }
  [[nodiscard]] bool accepts(SocketType /*type*/) const override { return true; }
  void on_ready(const Peer& /*peer*/) override {}
  Fault on_subscription(bool /*subscribe*/, std::string_view /*prefix*/) override { return Fault::none; }
  Fault on_message(std::span<const std::string_view> frames) override {
    if (frames.size() == 2) ++messages;
    return Fault::none;
  }
};

/// What a PUB sends, read in the pieces in which the gateway reads.
TEST(ZmtpSteadyState, MessagesAllocateNothingOnceBuffersHaveGrown) {
  const Connection::Options options;
  Counting counting;
  Connection connection(options, counting);
  counting.connection = &connection;
  std::string metadata;
  append_property("Socket-Type", "PUB", metadata);
  std::string bytes = "\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL"s + std::string(48, '\0');
  append_command(command::ready, metadata, bytes);
  ASSERT_EQ(connection.read(bytes), Fault::none);

  std::string messages;
  for (std::size_t i = 0; i < 5000; ++i) {
    append_frame(flag::more, "stock.MSFT", messages);
    append_frame(0, std::string(i % 500 == 0 ? 10'000 : 128, 'x'), messages);
  }
  const auto read_all = [&] {
    for (std::string_view rest = messages; !rest.empty();
         rest.remove_prefix(std::min<std::size_t>(4096, rest.size())))
      ASSERT_EQ(connection.read(rest.substr(0, 4096)), Fault::none);
  };
  read_all();
  const std::size_t before = testing::allocations;
  read_all();
  EXPECT_EQ(testing::allocations, before);
  EXPECT_EQ(counting.messages, 10'000U);
}

}  // namespace
}  // namespace backplane::zmtp
