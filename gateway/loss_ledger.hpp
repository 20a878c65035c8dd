#pragma once
// Which events a session has lost since it was last told.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "gateway/encode/encoder.hpp"
#include "gateway/event_line.hpp"

namespace backplane::gateway {

/// Ranges of dropped events, exactly: what lies in none of them was not dropped. Belongs to its
/// session; grows with the number of topics, not of events.
class LossLedger {
 public:
  void add(const EventLine& dropped);

  /// Appends a gap line for each range, in order of topics, and forgets them.
  void report(Format format, std::string& out);

  [[nodiscard]] std::size_t ranges() const noexcept { return ranges_; }

 private:
  struct Range {
    std::uint64_t stream;
    std::uint64_t first;
    std::uint64_t last;
  };
  std::map<std::string, std::vector<Range>> topics_;
  std::size_t ranges_{};
};

}  // namespace backplane::gateway
