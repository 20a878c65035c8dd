#pragma once
// A gateway with a site, and HTTP clients.

#include <chrono>
#include <string>
#include <string_view>

#include "gateway/protocols/http_server/site.hpp"
#include "tests/gateway/stage.hpp"

namespace backplane::gateway::http {

/// Outlives the clients.
struct SiteOfATest {
  std::string not_ready_;
  int pages_made_{};
  Site site_{{.limits = {.header_bytes_max = 16'384, .body_bytes_max = 2000},
              .request_timeout = std::chrono::seconds{30},
              .hosts = {"gateway.example"},
              .cors_origins = {"https://friend.example"}},
             {.metrics =
                  [this] {
                    ++pages_made_;
                    return std::string(1000, '#');
                  },
              .why_not_ready = [this] { return not_ready_; },
              .status = [](const Rights*) { return std::string(R"({"status":1})"); }}};
};

class HttpStage : protected SiteOfATest, public Stage {
 protected:
  HttpStage() : HttpStage(fanout::ShardOptions{}) {}
  explicit HttpStage(const fanout::ShardOptions& shard) : Stage({}, shard) {
    site_.add_address("10.1.2.3:1601");
    site_.add_address("listens.example:1601");
    services_.site = &site_;
    peer_ = connect();
  }

  using Stage::send;
  void send(const std::string& text) { send(peer_, text); }
  std::string take() { return peer_.take(); }
  /// The statuses of the responses since the last call, each followed by a space.
  std::string statuses() {
    const std::string all = take();
    std::string found;
    for (std::size_t at = all.find("HTTP/1.1 "); at != std::string::npos;
         at = all.find("HTTP/1.1 ", at + 1)) {
      if (all.at(at + 9) >= '0' && all.at(at + 9) <= '9') found += all.substr(at + 9, 4);
    }
    return found;
  }
  static std::string get(const std::string& target, const std::string& host = "localhost",
                         const std::string& fields = "") {
    return "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n";
  }
  static std::string post(const std::string& target, const std::string& body, const std::string& fields = "",
                          const std::string& host = "localhost") {
    return "POST " + target + " HTTP/1.1\r\nHost: " + host +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body;
  }

  Peer peer_;
};

}  // namespace backplane::gateway::http
