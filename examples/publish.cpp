// Publishes one text and exits when the broker has admitted it.
//
//   publish TOPIC TEXT        example: publish greetings.world hello
//
// BACKPLANE_HOST is the broker's host. The default is this machine. If the broker requires keys, they are in
// the files that BACKPLANE_KEY_FILE and BACKPLANE_SERVER_KEY_FILE name.

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
  options.brokers = {{at + ":5570", at + ":5572"}};  // may list several brokers
  options.source = "publish@example";                // our name, the same in every run
  Publisher publisher(options);                      // starts its own thread

  // Any protobuf message can be an event: a type that comes with Backplane, or your own. For plain text and
  // bytes there are offer_text() and offer_bytes().
  backplane::events::v1::TextMessage message;
  message.set_text(text);

  // offer() never blocks. The event is kept, and resent if necessary, until a broker has admitted it.
  if (publisher.offer(topic, message) != Offer::accepted) {
    std::cerr << "publish: cannot publish to \"" << topic << "\"\n";
    return 2;
  }
  // close() waits until the broker has admitted the event, like flush(). From then on, every reader receives
  // the event or a notice that it was lost.
  if (!publisher.close(std::chrono::seconds{5})) {
    const std::string problem = publisher.status().last_problem;
    std::cerr << "publish: no broker admitted the event within 5 s" << (problem.empty() ? "" : ": " + problem)
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
