#include "core/process/service_manager.hpp"

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace backplane {
namespace {

using namespace std::chrono_literals;

/// What a service manager is to its services: a socket, and variables in their environment.
class ServiceManagerTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(mkdtemp(folder_.data()), nullptr); }
  void TearDown() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
    std::filesystem::remove_all(folder_);
  }

  /// `name` as in NOTIFY_SOCKET.
  void listen(std::string name) {
    ASSERT_EQ(::setenv("NOTIFY_SOCKET", name.c_str(), 1), 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (name[0] == '@') name[0] = '\0';
    std::memcpy(address.sun_path, name.data(), name.size());
    socket_ = Descriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address),
                     static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())),
              0);
  }

  /// The next message; empty if there is none.
  std::string received() {
    std::array<char, 256> text{};
    const ssize_t size = ::recv(socket_.get(), text.data(), text.size(), 0);
    return {text.data(), size < 0 ? 0 : static_cast<std::size_t>(size)};
  }

  [[nodiscard]] std::string path() const { return folder_ + "/notify"; }

 private:
  std::string folder_{"/tmp/service-manager-XXXXXX"};
  Descriptor socket_;
};

TEST_F(ServiceManagerTest, ReceivesEachState) {
  listen(path());
  const ServiceManager manager = ServiceManager::from_environment();
  manager.ready();
  EXPECT_EQ(received(), "READY=1");
  manager.reloading();
  EXPECT_TRUE(received().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  manager.stopping();
  EXPECT_EQ(received(), "STOPPING=1");
}

TEST_F(ServiceManagerTest, MayListenInTheAbstractNamespace) {
  listen("@backplane-test-" + std::to_string(::getpid()));
  ServiceManager::from_environment().ready();
  EXPECT_EQ(received(), "READY=1");
}

TEST_F(ServiceManagerTest, GetsASignOfLifeOnlyIfItHasAWatchdog) {
  listen(path());
  const ServiceManager without = ServiceManager::from_environment();
  without.alive();
  EXPECT_EQ(received(), "");
  EXPECT_EQ(without.watchdog_interval(), std::nullopt);

  ASSERT_EQ(::setenv("NOTIFY_SOCKET", path().c_str(), 1), 0);
  ASSERT_EQ(::setenv("WATCHDOG_USEC", "30000000", 1), 0);
  ASSERT_EQ(::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1), 0);
  const ServiceManager with = ServiceManager::from_environment();
  EXPECT_EQ(with.watchdog_interval(), 15s);
  with.alive();
  EXPECT_EQ(received(), "WATCHDOG=1");
}

TEST_F(ServiceManagerTest, TheWatchdogOfAnotherProcessIsNotOurs) {
  listen(path());
  ASSERT_EQ(::setenv("WATCHDOG_USEC", "30000000", 1), 0);
  ASSERT_EQ(::setenv("WATCHDOG_PID", std::to_string(::getppid()).c_str(), 1), 0);
  EXPECT_EQ(ServiceManager::from_environment().watchdog_interval(), std::nullopt);
}

TEST_F(ServiceManagerTest, ChildrenDoNotInheritIt) {
  listen(path());
  ASSERT_EQ(::setenv("WATCHDOG_USEC", "30000000", 1), 0);
  ASSERT_EQ(::setenv("WATCHDOG_PID", "1", 1), 0);
  (void)ServiceManager::from_environment();
  for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
    EXPECT_EQ(std::getenv(name), nullptr) << name;
}

TEST_F(ServiceManagerTest, NoneOrAnUnknownKindOrOneThatHasGoneIsNoError) {
  for (const std::string& name :
       {std::string(), std::string("vsock:2:1234"), std::string("/"), path(), std::string(200, '/')}) {
    ASSERT_EQ(::setenv("NOTIFY_SOCKET", name.c_str(), 1), 0);
    const ServiceManager manager = ServiceManager::from_environment();
    manager.ready();
    manager.alive();
    manager.stopping();
  }
}

TEST_F(ServiceManagerTest, AWatchdogTimeThatIsNoNumberIsNone) {
  listen(path());
  ASSERT_EQ(::setenv("WATCHDOG_USEC", "soon", 1), 0);
  EXPECT_EQ(ServiceManager::from_environment().watchdog_interval(), std::nullopt);
}

TEST_F(ServiceManagerTest, OneThatReadsNothingDoesNotStopTheProcess) {
  listen(path());
  ASSERT_EQ(::setenv("WATCHDOG_USEC", "30000000", 1), 0);
  const ServiceManager manager = ServiceManager::from_environment();
  for (int each = 0; each < 100'000; ++each) manager.alive();
  EXPECT_EQ(received(), "WATCHDOG=1");
}

}  // namespace
}  // namespace backplane
