#include "core/net/transferred_bytes.hpp"

#include <array>
#include <chrono>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace backplane {
namespace {

using namespace std::chrono_literals;

/// Both ends of a TCP connection over loopback.
class TransferredBytesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const raw = reinterpret_cast<sockaddr*>(&address);  // NOLINT(*-reinterpret-cast): the API's own way
    ASSERT_EQ(::bind(listener, raw, size), 0);
    ASSERT_EQ(::listen(listener, 1), 0);
    ASSERT_EQ(::getsockname(listener, raw, &size), 0);
    ends_[0] = ::socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_EQ(::connect(ends_[0], raw, size), 0);
    ends_[1] = ::accept(listener, nullptr, nullptr);
    ASSERT_GE(ends_[1], 0);
    ::close(listener);
  }
  void TearDown() override {
    for (const int end : ends_) ::close(end);
  }

  std::array<int, 2> ends_{};
};

TEST_F(TransferredBytesTest, CountsWhatHasArrivedAtBothEnds) {
  EXPECT_EQ(received_bytes(ends_[1]), 0U);
  const std::uint64_t before = acknowledged_bytes(ends_[0]).value();  // the handshake may count as one
  const std::string sent(1000, 'x');
  ASSERT_EQ(::send(ends_[0], sent.data(), sent.size(), 0), 1000);
  // The other side's kernel acknowledges them, although nobody reads.
  for (const auto end = std::chrono::steady_clock::now() + 20s;
       acknowledged_bytes(ends_[0]).value() < before + 1000 && std::chrono::steady_clock::now() < end;) {
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_EQ(acknowledged_bytes(ends_[0]), before + 1000);
  EXPECT_EQ(received_bytes(ends_[1]), 1000U);
}

TEST_F(TransferredBytesTest, OtherDescriptorsHaveNone) {
  const int udp = ::socket(AF_INET, SOCK_DGRAM, 0);
  for (const int descriptor : {udp, -1}) {
    EXPECT_EQ(received_bytes(descriptor), std::nullopt);
    EXPECT_EQ(acknowledged_bytes(descriptor), std::nullopt);
  }
  ::close(udp);
}

}  // namespace
}  // namespace backplane
