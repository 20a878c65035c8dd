#include "cli/client_options.hpp"

#include "cli/connection/stored_events.hpp"
#include "core/credentials/broker_keys.hpp"
#include "core/zmq/client_keys.hpp"

namespace backplane::cli {

Client::Options client_options(std::string_view command, const std::vector<BrokerEndpoints>& brokers) {
  Client::Options options;
  options.brokers.clear();
  for (const BrokerEndpoints& broker : brokers) options.brokers.push_back({broker.egress, broker.control});
  options.credentials = mq::files_of(brokers.front().keys);
  options.name = default_name(command, brokers.front().keys);
  options.max_event_bytes = readable_event_bytes_max;
  return options;
}

}  // namespace backplane::cli
