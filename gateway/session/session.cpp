#include "gateway/session/session.hpp"

#include "gateway/session/notice.hpp"

namespace backplane::gateway {

void Session::say_goodbye(std::string_view reason) {
  if (client_.open()) services_.sessions.goodbye(reason);
  close_with_reason(reason);
}

void Session::close_with_reason(std::string_view reason) {
  std::string line;
  append_session_line(format_, "BYE", reason, line);
  client_.end(line);
}

void Session::on_broker(bool up) {
  std::string line;
  append_session_line(format_, up ? "LIVE" : "WAIT", "broker", line);
  client_.reply(line);
}

}  // namespace backplane::gateway
