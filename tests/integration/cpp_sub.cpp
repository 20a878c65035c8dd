// A subscriber written with cppzmq alone, like a user's C++ program. It prints "live" when its subscription
// is active, then one line per event: topic, offset, position and text.
//   cpp_sub EGRESS PREFIX COUNT
#include <cstdlib>
#include <iostream>
#include <string>

#include <zmq.hpp>

#include "backplane/v1/event.pb.h"

namespace {

bool receive(zmq::socket_t& socket, std::string& topic, backplane::v1::Event& event) {
  zmq::message_t name;
  zmq::message_t body;
  if (!socket.recv(name) || !name.more() || !socket.recv(body) || body.more()) return false;
  topic = name.to_string();
  return event.ParseFromArray(body.data(), static_cast<int>(body.size()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: cpp_sub EGRESS PREFIX COUNT\n";
    return 2;
  }
  zmq::context_t context;
  zmq::socket_t socket(context, zmq::socket_type::sub);
  socket.set(zmq::sockopt::sndhwm, 0);
  socket.set(zmq::sockopt::linger, 0);
  socket.connect(argv[1]);
  socket.set(zmq::sockopt::subscribe, argv[2]);
  const std::string live = "$SYS.live.cpp-sub";
  socket.set(zmq::sockopt::subscribe, live);

  long remaining = std::strtol(argv[3], nullptr, 10);
  std::string topic;
  backplane::v1::Event event;
  while (remaining > 0) {
    if (!receive(socket, topic, event)) {
      std::cerr << "a message that is not [topic][Event]\n";
      return 1;
    }
    if (topic == live) {
      std::cout << "live" << std::endl;
      continue;
    }
    std::cout << topic << ' ' << event.stamp().offset() << ' ' << event.stamp().position() << ' '
              << event.text() << std::endl;
    --remaining;
  }
  return 0;
}
