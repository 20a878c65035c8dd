#include "core/zmtp/greeting.hpp"

#include <algorithm>

namespace backplane::zmtp {
namespace {

constexpr std::size_t version_at = 10;
constexpr std::size_t minor_at = 11;
constexpr std::size_t old_socket_type_at = 11;
constexpr std::size_t mechanism_at = 12;
constexpr std::size_t mechanism_bytes = 20;
constexpr std::size_t as_server_at = 32;
constexpr std::size_t filler_bytes = 31;

// On the wire, ZMTP 1.0 is 0 and 2.0 is 1.
constexpr unsigned char wire_2_0 = 1;
constexpr unsigned char wire_3 = 3;

constexpr std::array<std::string_view, 3> mechanism_names = {"NULL", "PLAIN", "CURVE"};

}  // namespace

std::string_view name(Mechanism mechanism) noexcept {
  return mechanism_names[static_cast<std::size_t>(mechanism)];
}

bool GreetingReader::is_old() const noexcept {
  return static_cast<unsigned char>(bytes_[version_at]) == wire_2_0;
}

/// Checks the byte that arrived last.
Fault GreetingReader::check_last() const noexcept {
  const auto last = static_cast<unsigned char>(bytes_[size_ - 1]);
  if (size_ == 1 && last != 0xff) return Fault::bad_greeting;
  // ZMTP 1.0 has no signature: there, this byte is the flags of a frame: 0.
  if (size_ == signature_bytes && last != 0x7f) return last == 0 ? Fault::old_version : Fault::bad_greeting;
  if (size_ == version_at + 1 && last != wire_2_0 && last < wire_3) return Fault::old_version;
  if (size_ == as_server_at + 1 && last > 1) return Fault::bad_greeting;
  return Fault::none;
}

Fault GreetingReader::read(std::string_view& bytes) {
  while (!bytes.empty() && !is_complete()) {
    bytes_[size_++] = bytes.front();
    bytes.remove_prefix(1);
    if (const Fault fault = check_last(); fault != Fault::none) return fault;
  }
  return Fault::none;
}

Greeting GreetingReader::greeting() const {
  if (is_old()) {
    return {.version = {2, 0},
            .mechanism = Mechanism::null,
            .as_server = false,
            .socket_type = socket_type_of(static_cast<std::uint8_t>(bytes_[old_socket_type_at]))};
  }
  Greeting greeting;
  // A later version is a peer that also speaks ours.
  const auto major = static_cast<unsigned char>(bytes_[version_at]);
  const auto minor = static_cast<unsigned char>(bytes_[minor_at]);
  greeting.version = {3, static_cast<std::uint8_t>(major > wire_3 || minor > 0 ? 1 : 0)};
  greeting.as_server = bytes_[as_server_at] != 0;
  const std::string_view padded{bytes_.data() + mechanism_at, mechanism_bytes};
  for (std::size_t i = 0; i < mechanism_names.size(); ++i) {
    const std::string_view each = mechanism_names[i];
    if (padded.starts_with(each) && padded.find_first_not_of('\0', each.size()) == std::string_view::npos)
      greeting.mechanism = static_cast<Mechanism>(i);
  }
  return greeting;
}

void append_signature(std::string& out) {
  out.push_back('\xff');
  out.append(7, '\0');
  out.append("\x01\x7f\x03", 3);  // as libzmq writes it, and version 3
}

void append_greeting_rest(Mechanism mechanism, bool as_server, std::string& out) {
  const std::string_view own = name(mechanism);
  out.push_back('\x01');  // 3.1
  out.append(own).append(mechanism_bytes - own.size(), '\0');
  out.push_back(as_server ? '\x01' : '\0');
  out.append(filler_bytes, '\0');
}

void append_old_greeting_rest(SocketType own, std::string& out) {
  out.push_back(static_cast<char>(own));
  out.append(2, '\0');
}

}  // namespace backplane::zmtp
