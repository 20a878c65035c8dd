#include "broker/egress/subscription_ledger.hpp"

#include <algorithm>
#include <functional>

namespace backplane::broker {

/// The connection by which the message came, known from now on.
std::optional<SubscriptionLedger::Connections::iterator> SubscriptionLedger::find(zmq::message_t& message) {
  const Peer peer = peer_of(message);
  if (peer == Peer{}) return std::nullopt;
  const int descriptor = descriptor_of(message);
  const auto [found, is_new] = connections_.try_emplace(descriptor);
  Connection& connection = found->second;
  if (is_new || connection.peer != peer) {  // a later connection with the same descriptor
    forget(connection);
    connection.peer = peer;
    connection.socket = PeerSocket(message);
  }
  return found;
}

void SubscriptionLedger::forget(Connection& connection) noexcept {
  bytes_ -= connection.bytes;
  connection = {};
}

bool SubscriptionLedger::began(zmq::message_t& message, std::string_view prefix) {
  const auto found = find(message);
  if (!found) return true;
  Connection& connection = (*found)->second;
  if (connection.ending) return true;  // libzmq unsubscribes it when it has closed
  if (!connection.prefixes.insert(std::hash<std::string_view>{}(prefix)).second) return false;
  connection.bytes += cost(prefix.size());
  bytes_ += cost(prefix.size());
  return true;
}

bool SubscriptionLedger::ended(zmq::message_t& message, std::string_view prefix) {
  const auto found = find(message);
  if (!found) return true;
  Connection& connection = (*found)->second;
  if (connection.prefixes.erase(std::hash<std::string_view>{}(prefix)) == 0) return false;
  connection.bytes -= cost(prefix.size());
  bytes_ -= cost(prefix.size());
  return true;
}

void SubscriptionLedger::closed(int descriptor) {
  const auto found = connections_.find(descriptor);
  // It may be a later connection's already.
  if (found == connections_.end() || found->second.socket.is_open()) return;
  forget(found->second);
  connections_.erase(found);
}

SubscriptionLedger::Connections::iterator SubscriptionLedger::find_largest() noexcept {
  return std::max_element(connections_.begin(), connections_.end(),
                          [](const auto& a, const auto& b) { return a.second.bytes < b.second.bytes; });
}

std::size_t SubscriptionLedger::largest() const noexcept {
  std::size_t most = 0;
  for (const auto& [descriptor, connection] : connections_) most = std::max(most, connection.bytes);
  return most;
}

void SubscriptionLedger::end_largest() {
  const auto found = find_largest();
  if (found != connections_.end()) end(found->second);
}

void SubscriptionLedger::end(Connection& connection) {
  connection.socket.shut_down();
  bytes_ -= connection.bytes;
  connection.bytes = 0;
  connection.prefixes = {};
  connection.ending = true;
}

bool SubscriptionLedger::churned(zmq::message_t& message) {
  const auto found = find(message);
  if (!found) return false;
  Connection& connection = (*found)->second;
  if (connection.ending || ++connection.churn <= churn_max) return false;
  end(connection);
  return true;
}

void SubscriptionLedger::begin_second() noexcept {
  for (auto& [descriptor, connection] : connections_) connection.churn = 0;
}

}  // namespace backplane::broker
