#pragma once
// Counters by name, as brokers, gateways and publishers report them.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane::cli {

using Counters = std::map<std::string, std::uint64_t>;

/// The counter of that name; 0 if there is none.
[[nodiscard]] std::uint64_t counter(const Counters& counters, const std::string& name);

/// The counters called `name` or `name.<label>`, in the order of their names.
[[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> labelled_counters(const Counters& counters,
                                                                                   std::string_view name);
/// The sum of labelled_counters().
[[nodiscard]] std::uint64_t counter_sum(const Counters& counters, std::string_view name);

}  // namespace backplane::cli
