// Prints the events of some topics, and whatever is missing among them.
//
//   subscribe PATTERN [TOKEN]        for example: subscribe 'stock.>'
//
// BACKPLANE_HOST names the broker's machine; without it, it is this one. Ctrl-C ends it and prints a token:
// given as TOKEN the next time, it makes the reading go on exactly where it ended.

#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include <backplane/client.hpp>

using backplane::Client;

namespace {

Client* running = nullptr;  // for the signal handler

void on_signal(int) {
  running->stop();  // one of the few things that a signal handler may do
}

int run(const std::string& pattern, const std::string& token) {
  // Where the broker is. Several can be named: the client moves on when one is gone.
  const char* host = std::getenv("BACKPLANE_HOST");
  const std::string at = "tcp://" + std::string(host != nullptr ? host : "127.0.0.1");
  Client::Options options;
  options.brokers = {{at + ":5571", at + ":5572"}};
  Client client(options);
  running = &client;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);

  // `last = true` instead would begin with the last value of each topic.
  client.subscribe(pattern, {.since_token = token});

  // What comes is one of six kinds; what is not set here is passed over.
  Client::Callbacks callbacks;
  callbacks.on_subscribed = [](const Client::Subscribed&) {
    // From here on nothing is missed without word of it.
    std::cerr << "subscribed\n";
  };
  callbacks.on_event = [&](const Client::Event& event) {
    // payload_json() shows messages of any type, also of one that this program was not built with. With a
    // type that it was built with, event.unpack(message) gives the message itself.
    std::cout << event.topic() << ' ' << event.offset() << ' ' << client.payload_json(event) << std::endl;
  };
  callbacks.on_gap = [](const Client::Gap& gap) {
    std::cout << "missing: " << gap.topic << ' ' << gap.first << " to " << gap.last << " ("
              << backplane::name(gap.reason) << ")" << std::endl;
  };
  callbacks.on_reset = [](const Client::Reset&) {
    std::cout << "the broker began anew; what it had before is lost" << std::endl;
  };
  callbacks.on_refused = [](const Client::Refused& refused) { std::cerr << refused.text << '\n'; };
  callbacks.on_broker = [](const Client::Broker& broker) {
    std::cerr << (broker.up ? "the broker is there\n" : "the broker is gone; waiting for it\n");
  };
  while (client.run_for(std::chrono::hours{1}, callbacks)) {
  }
  std::cerr << "go on with: " << client.resume_token() << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: subscribe PATTERN [TOKEN]\n";
    return 2;
  }
  try {
    return run(argv[1], argc == 3 ? argv[2] : "");
  } catch (const std::exception& error) {  // a pattern that is none, for example
    std::cerr << "subscribe: " << error.what() << '\n';
    return 2;
  }
}
