#pragma once
// The configuration of a link.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/config/section.hpp"

namespace backplane::links {

/// The table [link]. Its files are read by the command.
struct LinkConfig {
  std::vector<std::string> from;  ///< hosts
  std::vector<std::string> to;
  std::string from_control;  ///< in place of that of a single host in `from`
  std::string to_ingress;
  std::string to_control;
  std::vector<std::string> patterns;
  std::string under;
  std::string name;   ///< "": made of the patterns and `under`
  std::string state;  ///< a folder; "": none
  std::string since;
  std::uint64_t hops = 64;
  std::chrono::milliseconds poll{50};
  std::string from_key;
  std::string from_server_key;
  std::string to_key;
  std::string to_server_key;
  std::string metrics = "off";
};

void describe(config::Section& section, LinkConfig& link);

}  // namespace backplane::links
