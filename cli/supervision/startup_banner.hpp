#pragma once
// What `backplane up` prints when everything is ready: the addresses, and commands to try.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace backplane::cli {

/// The daemons that are running.
struct StartedDaemons {
  std::vector<std::string> broker;  ///< its ready lines, one for each backplane
  std::string gateway;              ///< its first ready line
  std::size_t listeners{};          ///< how many of that line's addresses take commands; the others are feeds
  bool http{};                      ///< whether the listeners serve HTTP, and therefore the page
  std::string program;              ///< the command to type for `backplane`
  std::string key_options{};        ///< with a policy: the options of commands that connect to the broker
};

/// The addresses in the gateway's ready line that take commands, or with `feeds` the others.
[[nodiscard]] std::vector<std::string> gateway_addresses(const StartedDaemons& daemons, bool feeds);

/// The lines of the banner, each with its line end. For an address that accepts connections on every
/// interface, it names the loopback address.
[[nodiscard]] std::string startup_banner(const StartedDaemons& daemons);

}  // namespace backplane::cli
