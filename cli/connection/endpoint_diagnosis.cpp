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

/// ZMTP's signature: whoever speaks it says this first, on its own account (rfc.zeromq.org/spec/23).
bool is_greeting(std::string_view bytes) {
  return bytes.size() >= greeting_bytes && bytes[0] == '\xff' && bytes[9] == '\x7f';
}

/// What the other side says until `until`, or as much of it as is needed to know who it is.
struct Heard {
  std::string text;
  bool closed{};
};
Heard listen_to(TcpConnection& connection, Waiter& waiter, Waiter::Clock::time_point until) {
  Heard heard;
  const std::array fds{connection.fd()};
  while (heard.text.size() < greeting_bytes && !waiter.stopped() && Waiter::Clock::now() < until) {
    std::array<char, 64> bytes{};
    const auto more = connection.receive(bytes);
    if (!more) {
      heard.closed = true;
      break;
    }
    heard.text.append(bytes.data(), *more);
    if (!heard.text.empty() && heard.text[0] != '\xff') break;
    if (*more == 0) (void)waiter.wait(fds, until);
  }
  return heard;
}

Diagnosis diagnose_tcp(const HostPort& place, Waiter& waiter) {
  using Found = Diagnosis::Found;
  const auto until = Waiter::Clock::now() + 1s;
  auto connection = TcpConnection::open(place, waiter, until);
  if (!connection) return {connection.error().text, Found::no_reply};
  Heard heard = listen_to(*connection, waiter, until);
  if (heard.text.empty() && !heard.closed) {
    // Who waits to be spoken to may be a web server, a gateway, or a broker that hangs: only the last says
    // nothing to this either.
    (void)connection->send("GET / HTTP/1.0\r\n\r\n", waiter, Waiter::Clock::now() + 1s);
    heard = listen_to(*connection, waiter, Waiter::Clock::now() + 1s);
  }
  if (is_greeting(heard.text)) {
    return {"what listens there speaks ZeroMQ but does not answer: is it this endpoint of a broker?",
            Found::zeromq};
  }
  if (heard.text.empty() && !heard.closed) return {"what listens there says nothing at all", Found::no_reply};
  return {"what listens there does not speak ZeroMQ", Found::other_protocol};
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
    const bool there = ::stat(endpoint.substr(ipc.size()).c_str(), &status) == 0;
    return {there ? "there is such a socket, and nobody answers on it" : "there is no such socket",
            Diagnosis::Found::no_reply};
  }
  return {"nothing answers there", Diagnosis::Found::no_reply};
}

std::string waited_text(std::chrono::milliseconds waited) {
  return fmt::format("{} s", std::max<std::int64_t>(1, waited.count() / 1000));
}

Error no_broker(const std::vector<std::string>& endpoints, std::chrono::milliseconds waited, Waiter& waiter) {
  if (waiter.stopped()) return {ErrorCode::unavailable, "interrupted"};
  return {ErrorCode::unavailable,
          fmt::format("no broker answers at {} within {}: {}", fmt::join(endpoints, ", "),
                      waited_text(waited), diagnose(endpoints.back(), waiter).text)};
}

}  // namespace backplane::cli
