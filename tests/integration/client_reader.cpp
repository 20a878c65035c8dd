// The client library as a process, for tests: prints each item on one line, until SIGTERM.
//
//   client_reader [--broker EGRESS CONTROL]… [--many N] [--last] [--since TOKEN] [--offset N] [--time NS]
//                 [--every MS] [--limit MS] PATTERN…
//
// --many subscribes to many.0, many.1, … with one subscription each; --limit ends it after this time.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "backplane/client.hpp"

using backplane::Client;

namespace {

Client* running = nullptr;

void on_signal(int) {
  running->stop();
}

struct Arguments {
  Client::Options client;
  backplane::SubscribeOptions subscribe;
  std::vector<std::string> patterns;
  int many{};
  std::chrono::milliseconds limit{std::chrono::hours{24}};
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  arguments.client.brokers.clear();
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto next = [&] { return std::string(i + 1 < argc ? argv[++i] : ""); };
    if (word == "--broker") {
      std::string egress = next();
      arguments.client.brokers.push_back({std::move(egress), next()});
    } else if (word == "--many") {
      arguments.many = std::stoi(next());
    } else if (word == "--last") {
      arguments.subscribe.last = true;
    } else if (word == "--since") {
      arguments.subscribe.since_token = next();
    } else if (word == "--offset") {
      arguments.subscribe.since_offset = std::stoull(next());
    } else if (word == "--time") {
      arguments.subscribe.since_time_ns = std::stoll(next());
    } else if (word == "--every") {
      arguments.subscribe.every = std::chrono::milliseconds{std::stoi(next())};
    } else if (word == "--limit") {
      arguments.limit = std::chrono::milliseconds{std::stoi(next())};
    } else {
      arguments.patterns.emplace_back(word);
    }
  }
  return arguments;
}

template <class... Parts>
void say(fmt::format_string<Parts...> format, Parts&&... parts) {
  fmt::print(format, std::forward<Parts>(parts)...);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

int run(const Arguments& arguments) {
  Client client(arguments.client);
  running = &client;
  std::signal(SIGTERM, on_signal);
  if (!arguments.patterns.empty()) client.subscribe(arguments.patterns, arguments.subscribe);
  for (int i = 0; i < arguments.many; ++i) client.subscribe(fmt::format("many.{}", i), arguments.subscribe);

  Client::Callbacks callbacks;
  callbacks.on_event = [&](const Client::Event& event) {
    say("event {} {} {}{}", event.topic(), event.offset(), client.payload_json(event),
        event.from_history() ? " history" : "");
  };
  callbacks.on_gap = [](const Client::Gap& gap) {
    say("gap {} {} {} {}", gap.topic, gap.first, gap.last, backplane::name(gap.reason));
  };
  callbacks.on_reset = [](const Client::Reset&) { say("reset"); };
  callbacks.on_subscribed = [](const Client::Subscribed& what) {
    say("subscribed {}", static_cast<std::uint64_t>(what.subscription));
  };
  callbacks.on_refused = [](const Client::Refused& what) { say("refused {}", what.text); };
  callbacks.on_broker = [](const Client::Broker& broker) {
    say("{} {}", broker.up ? "up" : "down", broker.index);
  };
  (void)client.run_for(arguments.limit, callbacks);
  const backplane::ClientStatus status = client.status();
  say("token {}", client.resume_token());
  say("status given={} seen={} recovered={} lost={} gaps={} resets={} undecodable={}", status.given,
      status.seen, status.recovered, status.lost, status.gaps, status.resets, status.undecodable);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "client_reader: {}\n", error.what());
    return 2;
  }
}
