#include "gateway/session/session.hpp"

#include <chrono>

#include "gateway/session/notice.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;

// After the end of the input, and from one check to the next.
constexpr auto half_closed_first_check = 5s;
constexpr auto half_closed_interval = 15s;

}  // namespace

void Session::say_goodbye(std::string_view reason) {
  if (client_.open()) services_.sessions.goodbye(reason);
  close_with_reason(reason);
}

void Session::close_with_reason(std::string_view reason) {
  std::string line;
  append_session_line(format_, "BYE", reason, line);
  client_.end(line);
}

void Session::watch_half_closed() {
  if (client_.open()) client_.set_alarm(client_.now() + half_closed_first_check);
}

void Session::check_half_closed() {
  const auto now = client_.now();
  // Whatever was written since is a check as well.
  if (now < client_.active_at() + half_closed_first_check) {
    return client_.set_alarm(client_.active_at() + half_closed_interval);
  }
  if (client_.backlog().empty()) {
    std::string line;
    append_session_line(format_, "KEEPALIVE", "half_closed", line);
    client_.reply(line);
  }
  client_.set_alarm(now + half_closed_interval);
}

void Session::on_broker(bool up) {
  std::string line;
  append_session_line(format_, up ? "LIVE" : "WAIT", "broker", line);
  client_.reply(line);
}

}  // namespace backplane::gateway
