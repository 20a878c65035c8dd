#pragma once
// What `backplane up` says when all is ready: where everything is, and what to type.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace backplane::cli {

/// What is up.
struct StartedDaemons {
  std::vector<std::string> broker;  ///< its ready lines, one a backplane
  std::string gateway;              ///< its first ready line
  std::size_t listeners{};          ///< so many of that line's places take commands; the others are feeds
  bool http{};                      ///< spoken on these, so that there is a page
  std::string program;              ///< what a person types to run `backplane`
};

/// The places of a gateway's ready line that take commands, or with `feeds` the others.
[[nodiscard]] std::vector<std::string> gateway_addresses(const StartedDaemons& daemons, bool feeds);

/// The lines for a person, each with its end. Where a place takes connections to any address of the machine,
/// what is to be typed or opened names the loopback one.
[[nodiscard]] std::string startup_banner(const StartedDaemons& daemons);

}  // namespace backplane::cli
