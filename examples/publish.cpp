// Publishes one text, and ends when the broker has it.
//
//   publish TOPIC TEXT        for example: publish greetings.world hello
//
// BACKPLANE_HOST names the broker's machine; without it, it is this one.

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include <backplane/events/v1/text_message.pb.h>
#include <backplane/publisher.hpp>

using backplane::Offer;
using backplane::Publisher;

namespace {

int run(const std::string& topic, const std::string& text) {
  const char* host = std::getenv("BACKPLANE_HOST");
  const std::string at = "tcp://" + std::string(host != nullptr ? host : "127.0.0.1");
  Publisher::Options options;
  options.brokers = {{at + ":5570", at + ":5572"}};  // several can be named
  options.source = "publish@example";                // who we are: stable from run to run
  Publisher publisher(options);                      // has a thread of its own

  // Any protobuf message can be an event: the types that come with Backplane, or one of your own. Plain text
  // and bytes go with offer_text() and offer_bytes().
  backplane::events::v1::TextMessage message;
  message.set_text(text);

  // offer() never blocks: the event is kept, and sent again if need be, until a broker has admitted it.
  if (publisher.offer(topic, message) != Offer::accepted) {
    std::cerr << "publish: \"" << topic << "\" is not a topic that can be published to\n";
    return 2;
  }
  // close() waits for that, as flush() does. Only then it is certain that every reader gets it, or hears that
  // it was lost.
  if (!publisher.close(std::chrono::seconds{5})) {
    const std::string problem = publisher.status().last_problem;
    std::cerr << "publish: no broker has taken it within 5 s" << (problem.empty() ? "" : ": " + problem)
              << '\n';
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: publish TOPIC TEXT\n";
    return 2;
  }
  try {
    return run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::cerr << "publish: " << error.what() << '\n';
    return 2;
  }
}
