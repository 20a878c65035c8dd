#include "fanout/tls_connections.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <sys/socket.h>

#include "fanout/address.hpp"
#include "fanout/tls_stream.hpp"

namespace backplane::fanout {
namespace {

std::string peer_of(int socket) {
  Address peer;
  peer.length = sizeof peer.storage;
  const bool known = ::getpeername(socket, peer.get(), &peer.length) == 0 &&
                     (peer.storage.ss_family == AF_INET || peer.storage.ss_family == AF_INET6);
  return known ? peer.text() : "a client that has left";
}

}  // namespace

void TlsConnections::add_counters(TlsCounters& sum) const noexcept {
  sum.handshakes += handshakes_done_.get();
  sum.plaintext_refused += plaintext_refused_.get();
  sum.connections += connections_.get();
  for (std::size_t i = 0; i < failures_.size(); ++i) sum.failures[i] += failures_[i].get();
}

std::optional<ClientId> TlsConnections::next_deferred() {
  if (deferred_.empty() || !may_continue()) return std::nullopt;
  const ClientId client = deferred_.front();
  deferred_.pop_front();
  return client;
}

TlsConnections::Handshakes::iterator TlsConnections::begin_handshake(TlsStream& stream) {
  if (handshakes_.size() >= std::max<std::size_t>(options_.handshakes_max, 1))
    handshakes_.front()->give_way();
  return handshakes_.insert(handshakes_.end(), &stream);
}

void TlsConnections::count_failure(TlsFailure reason, int socket, std::string_view detail) {
  const auto index = static_cast<std::size_t>(reason);
  failures_[index].add(1);
  if (!failure_log_.allow(Clock::now())) return;
  log::warning("TLS handshake with {} failed: {}{}{}", peer_of(socket), tls_failure_names[index],
               detail.empty() ? "" : fmt::format(" ({})", detail),
               failure_log_.suppressed() == 0
                   ? ""
                   : fmt::format("; {} more since the last line", failure_log_.suppressed()));
}

}  // namespace backplane::fanout
