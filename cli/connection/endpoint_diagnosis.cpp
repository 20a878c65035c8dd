#include "cli/connection/endpoint_diagnosis.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <sys/stat.h>

#include "cli/connection/tcp_connection.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t greeting_bytes = 10;

/// The signature that each ZMTP peer sends first, without waiting for the other (rfc.zeromq.org/spec/23).
bool is_greeting(std::string_view bytes) {
  return bytes.size() >= greeting_bytes && bytes[0] == '\xff' && bytes[9] == '\x7f';
}

/// What a server has sent.
struct Received {
  std::string text;
  bool closed{};
};
/// Reads until `until`, or until the bytes are enough to recognise ZMTP or another protocol.
Received read_greeting(TcpConnection& connection, Waiter& waiter, Waiter::Clock::time_point until) {
  Received received;
  const std::array fds{connection.fd()};
  while (received.text.size() < greeting_bytes && !waiter.stopped() && Waiter::Clock::now() < until) {
    std::array<char, 64> bytes{};
    const auto more = connection.receive(bytes);
    if (!more) {
      received.closed = true;
      break;
    }
    received.text.append(bytes.data(), *more);
    if (!received.text.empty() && received.text[0] != '\xff') break;
    if (*more == 0) (void)waiter.wait(fds, until);
  }
  return received;
}

Diagnosis diagnose_tcp(const HostPort& place, Waiter& waiter) {
  using Found = Diagnosis::Found;
  const auto until = Waiter::Clock::now() + 1s;
  auto connection = TcpConnection::open(place, waiter, until);
  if (!connection) {
    const bool timeout = connection.error().code == ErrorCode::timeout;
    return {connection.error().text, timeout ? Found::no_reply : Found::unreachable};
  }
  Received received = read_greeting(*connection, waiter, until);
  if (received.text.empty() && !received.closed) {
    // It may be a web server, a gateway, or a broker that hangs. Only a broker that hangs does not reply to
    // this.
    (void)connection->send("GET / HTTP/1.0\r\n\r\n", waiter, Waiter::Clock::now() + 1s);
    received = read_greeting(*connection, waiter, Waiter::Clock::now() + 1s);
  }
  if (is_greeting(received.text)) {
    return {"a ZeroMQ socket listens there but does not reply: is it another endpoint of the broker?",
            Found::zeromq};
  }
  if (received.text.empty() && !received.closed) return {"the listener there sends nothing", Found::no_reply};
  return {"the listener there does not speak ZeroMQ", Found::other_protocol};
}

}  // namespace

Diagnosis diagnose(const std::string& endpoint, Waiter& waiter) {
  constexpr std::string_view tcp = "tcp://";
  constexpr std::string_view ipc = "ipc://";
  if (endpoint.starts_with(tcp)) {
    const auto place = parse_host_port(std::string_view(endpoint).substr(tcp.size()), endpoint);
    if (!place) return {place.error().text, Diagnosis::Found::no_reply};
    return diagnose_tcp(*place, waiter);
  }
  if (endpoint.starts_with(ipc)) {
    struct stat status {};
    if (::stat(endpoint.substr(ipc.size()).c_str(), &status) == 0)
      return {"the socket exists but nothing replies", Diagnosis::Found::no_reply};
    return {"there is no such socket", Diagnosis::Found::unreachable};
  }
  return {"nothing replies there", Diagnosis::Found::no_reply};
}

std::string waited_text(std::chrono::milliseconds waited) {
  return fmt::format("{} s", std::max<std::int64_t>(1, waited.count() / 1000));
}

std::string found_text(const std::vector<std::string>& endpoints, const std::vector<Diagnosis>& diagnoses,
                       std::string_view within) {
  const bool same = std::all_of(diagnoses.begin(), diagnoses.end(),
                                [&](const Diagnosis& each) { return each.text == diagnoses.front().text; });
  if (same) return fmt::format("at {}{}: {}", fmt::join(endpoints, ", "), within, diagnoses.front().text);
  std::string text;
  for (std::size_t at = 0; at < diagnoses.size(); ++at) {
    text += fmt::format("{}at {}: {}", at == 0 ? "" : "; ", endpoints[at], diagnoses[at].text);
  }
  return text + std::string(within.empty() ? "" : ";") + std::string(within);
}

Error no_broker(const std::vector<std::string>& endpoints, std::chrono::milliseconds waited, Waiter& waiter) {
  std::vector<Diagnosis> diagnoses;
  for (const std::string& each : endpoints) diagnoses.push_back(diagnose(each, waiter));
  if (waiter.stopped()) return {ErrorCode::unavailable, "interrupted"};
  return {ErrorCode::unavailable,
          "cannot reach a broker " + found_text(endpoints, diagnoses, " within " + waited_text(waited))};
}

std::optional<Error> nothing_listens(const std::vector<std::string>& endpoints, Waiter& waiter) {
  std::vector<Diagnosis> diagnoses;
  for (const std::string& each : endpoints) {
    diagnoses.push_back(diagnose(each, waiter));
    if (diagnoses.back().found != Diagnosis::Found::unreachable || waiter.stopped()) return std::nullopt;
  }
  return Error{ErrorCode::unavailable, "cannot reach a broker " + found_text(endpoints, diagnoses)};
}

}  // namespace backplane::cli
