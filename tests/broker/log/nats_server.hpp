#pragma once
// A real nats-server for a test.

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error/error.hpp"

namespace backplane::broker::testing {

/// A server with JetStream in a folder of its own, on a free port of 127.0.0.1, which stays the same when it
/// is started again. It ends with its owner.
class NatsServer {
 public:
  static bool is_installed() { return std::system("command -v nats-server >/dev/null 2>&1") == 0; }

  explicit NatsServer(bool jetstream = true) : jetstream_(jetstream) {
    std::string pattern = (std::filesystem::temp_directory_path() / "backplane-nats-XXXXXX").string();
    CHECK(::mkdtemp(pattern.data()) != nullptr, "a temporary folder");
    folder_ = pattern;
    start();
  }
  ~NatsServer() {
    kill();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  NatsServer(const NatsServer&) = delete;
  NatsServer& operator=(const NatsServer&) = delete;

  [[nodiscard]] std::string url() const { return fmt::format("nats://127.0.0.1:{}", port_); }
  void start() {
    const std::string port = port_.empty() ? "-1" : port_;
    const std::string store = (folder_ / "store").string();
    const std::string log = (folder_ / "log").string();
    std::vector<std::string> arguments{"nats-server",    "-a", "127.0.0.1", "-p", port, "--ports_file_dir",
                                       folder_.string(), "-l", log};
    if (jetstream_) arguments.insert(arguments.end(), {"-js", "-sd", store});
    std::vector<char*> pointers;
    for (std::string& each : arguments) pointers.push_back(each.data());
    pointers.push_back(nullptr);
    child_ = ::fork();
    CHECK(child_ >= 0, "a child process");
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::execvp("nats-server", pointers.data());
      ::_exit(127);
    }
    port_ = read_port();
  }
  void kill() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    std::filesystem::remove(ports_file());
    child_ = 0;
  }

 private:
  [[nodiscard]] std::filesystem::path ports_file() const {
    return folder_ / fmt::format("nats-server_{}.ports", child_);
  }
  [[nodiscard]] std::string read_port() const {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    while (std::chrono::steady_clock::now() < until) {
      std::stringstream text;
      text << std::ifstream(ports_file()).rdbuf();
      const std::string all = text.str();
      const std::size_t at = all.find("nats://127.0.0.1:");
      if (at != std::string::npos && all.find('}') != std::string::npos) {
        const std::size_t digits = at + std::string_view("nats://127.0.0.1:").size();
        return all.substr(digits, all.find_first_not_of("0123456789", digits) - digits);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    CHECK(false, "nats-server listens within 20 s");
    return {};
  }

  const bool jetstream_;
  std::filesystem::path folder_;
  std::string port_;
  pid_t child_{};
};

}  // namespace backplane::broker::testing
