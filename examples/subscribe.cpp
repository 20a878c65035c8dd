// Prints the events of some topics, and reports the ones that were lost.
//
//   subscribe PATTERN [TOKEN]        example: subscribe 'stock.>'
//
// BACKPLANE_HOST is the broker's host. The default is this machine. If the broker requires keys, they are in
// the files that BACKPLANE_KEY_FILE and BACKPLANE_SERVER_KEY_FILE name. Ctrl-C ends the program and prints a
// token. Pass it as TOKEN the next time to continue exactly where the program ended.

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
  // The broker's endpoints. With several brokers, the client fails over to the next one.
  const char* host = std::getenv("BACKPLANE_HOST");
  const std::string at = "tcp://" + std::string(host != nullptr ? host : "127.0.0.1");
  Client::Options options;
  options.brokers = {{at + ":5571", at + ":5572"}};
  Client client(options);
  running = &client;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);

  // With `last = true` instead, reading begins with the last value of each topic.
  client.subscribe(pattern, {.since_token = token});

  // There are six callbacks. Those that are not set are skipped.
  Client::Callbacks callbacks;
  callbacks.on_subscribed = [](const Client::Subscribed&) {
    // From here on, every lost event is reported.
    std::cerr << "subscribed\n";
  };
  callbacks.on_event = [&](const Client::Event& event) {
    // payload_json() shows messages of any type, including types that this program was not built with. For a
    // type that it was built with, event.unpack(message) returns the message.
    std::cout << event.topic() << ' ' << event.offset() << ' ' << client.payload_json(event) << std::endl;
  };
  callbacks.on_gap = [](const Client::Gap& gap) {
    std::cout << "lost: " << gap.topic << ' ' << gap.first << " to " << gap.last << " ("
              << backplane::name(gap.reason) << ")" << std::endl;
  };
  callbacks.on_reset = [](const Client::Reset&) {
    std::cout << "the broker restarted without its history; earlier events may be lost" << std::endl;
  };
  callbacks.on_refused = [](const Client::Refused& refused) { std::cerr << refused.text << '\n'; };
  callbacks.on_broker = [](const Client::Broker& broker) {
    if (!broker.key_problem.empty()) {
      std::cerr << broker.key_problem << '\n';
      return;
    }
    std::cerr << (broker.up ? "connected to the broker\n" : "lost the connection to the broker; waiting\n");
  };
  while (client.run_for(std::chrono::hours{1}, callbacks)) {
  }
  std::cerr << "to continue: " << client.resume_token() << '\n';
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
  } catch (const std::exception& error) {  // for example an invalid pattern
    std::cerr << "subscribe: " << error.what() << '\n';
    return 2;
  }
}
