#pragma once
// The publishers that the brokers of a log know.

#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace backplane::broker {

/// A publisher, as its last event on its $SYS.source topic says.
struct KnownSource {
  std::uint64_t session{};
  std::uint64_t owner{};  ///< the incarnation of the broker that hears from it, or did last
  bool up{};
  friend bool operator==(const KnownSource&, const KnownSource&) = default;
};

/// By topic, in an order that is the same at all brokers. As many as there are topics of sources.
using KnownSources = std::map<std::string, KnownSource, std::less<>>;

}  // namespace backplane::broker
