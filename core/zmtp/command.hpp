#pragma once
// Commands: what peers say to each other about the connection, in ZMTP 3.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace backplane::zmtp {

/// A command: the body of a command frame is its name, after a byte with the name's length, and its data.
struct Command {
  std::string_view name;
  std::string_view data;
};

namespace command {
inline constexpr std::string_view ready = "READY";
inline constexpr std::string_view error = "ERROR";
inline constexpr std::string_view hello = "HELLO";
inline constexpr std::string_view welcome = "WELCOME";
inline constexpr std::string_view initiate = "INITIATE";
inline constexpr std::string_view message = "MESSAGE";
inline constexpr std::string_view subscribe = "SUBSCRIBE";
inline constexpr std::string_view cancel = "CANCEL";
inline constexpr std::string_view ping = "PING";
inline constexpr std::string_view pong = "PONG";
}  // namespace command

/// @returns nothing if `body` does not begin with a name.
[[nodiscard]] std::optional<Command> parse_command(std::string_view body) noexcept;
/// Appends the body of a command: its name after the name's length. The data must follow.
void append_command_name(std::string_view name, std::string& out);
/// Appends a command as a frame.
void append_command(std::string_view name, std::string_view data, std::string& out);

/// The properties of a peer, in its READY or INITIATE. Names are compared without regard to case.
struct Metadata {
  std::optional<std::string_view> socket_type;
  std::string_view identity;
};

/// @returns nothing if `data` is no list of properties, or names one of the above twice. Other properties are
/// ignored.
[[nodiscard]] std::optional<Metadata> parse_metadata(std::string_view data) noexcept;
void append_property(std::string_view name, std::string_view value, std::string& out);

/// The data of a PING.
struct Ping {
  std::uint16_t ttl_ds{};  ///< the peer may close a connection that is silent for so many tenths of a second
  std::string_view context;  ///< at most 16 bytes, to be returned in the PONG
};
[[nodiscard]] std::optional<Ping> parse_ping(std::string_view data) noexcept;

/// The data of PLAIN's HELLO.
struct PlainHello {
  std::string_view username;
  std::string_view password;
};
[[nodiscard]] std::optional<PlainHello> parse_plain_hello(std::string_view data) noexcept;

/// The reason in an ERROR, at most 255 bytes.
[[nodiscard]] std::optional<std::string_view> parse_error(std::string_view data) noexcept;
/// Appends an ERROR as a frame. A `reason` of three digits, such as "400", is a status code as in ZAP: with
/// CURVE, libzmq reports it to the program.
void append_error(std::string_view reason, std::string& out);

}  // namespace backplane::zmtp
