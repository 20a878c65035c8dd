#pragma once
// What `backplane doctor` says about a broker.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "follower/control/broker_identity.hpp"
#include "follower/control/broker_info.hpp"

namespace backplane::cli {

/// The result of looking at one thing.
struct Check {
  enum class State : std::uint8_t {
    ok,
    note,     ///< worth knowing
    warning,  ///< may become a problem
    failed,   ///< something does not work
  };
  State state{};
  std::string name;  ///< `clock`
  std::string text;
};

/// All checks of one program.
struct Examination {
  std::string subject;  ///< `broker tcp://127.0.0.1:5572`
  std::vector<Check> checks;

  void add(Check::State state, std::string name, std::string text) {
    checks.push_back({state, std::move(name), std::move(text)});
  }
  [[nodiscard]] bool has(Check::State state) const;
};

/// Adds `version`, and `state` if the broker drains.
void check_identity(const BrokerIdentity& identity, std::string_view own_version, Examination& examination);
/// Adds `clock`. The broker publishes figures of its own every few seconds: its clock was at `newest_ns` when
/// it received the last ones, which is a moment ago.
/// @param now_ns  this machine's clock, Unix
void check_clock(std::int64_t newest_ns, std::int64_t now_ns, Examination& examination);
/// Adds `topics`, `sessions`, `memory`, `files`, `store`, `losses`, `access` and `gateways`, as far as the
/// broker reports them.
void check_stats(const BrokerStats& stats, Examination& examination);

/// The lines for people: each examination with its checks, then how many problems there are.
[[nodiscard]] std::vector<std::string> health_text(const std::vector<Examination>& all);
/// One JSON object per check.
[[nodiscard]] std::vector<std::string> health_json(const std::vector<Examination>& all);

}  // namespace backplane::cli
