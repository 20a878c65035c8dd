#include "cli/console/counters.hpp"

namespace backplane::cli {

std::uint64_t counter(const Counters& counters, const std::string& name) {
  const auto found = counters.find(name);
  return found == counters.end() ? 0 : found->second;
}

std::vector<std::pair<std::string, std::uint64_t>> labelled_counters(const Counters& counters,
                                                                     std::string_view name) {
  std::vector<std::pair<std::string, std::uint64_t>> found;
  for (auto at = counters.lower_bound(std::string(name)); at != counters.end(); ++at) {
    if (!at->first.starts_with(name)) break;
    const std::string_view rest = std::string_view(at->first).substr(name.size());
    if (rest.empty() || rest.front() == '.') found.push_back(*at);
  }
  return found;
}

std::uint64_t counter_sum(const Counters& counters, std::string_view name) {
  std::uint64_t sum = 0;
  for (const auto& [each, value] : labelled_counters(counters, name)) sum += value;
  return sum;
}

}  // namespace backplane::cli
