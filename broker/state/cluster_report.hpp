#pragma once
// What a broker knows about the log that it shares with others, for people.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace backplane::broker {

/// A server of the engine that keeps the log.
struct LogServer {
  std::string name;
  bool is_leader{};   ///< of the log
  bool is_current{};  ///< has everything that is in the log
  bool is_offline{};
  std::uint64_t lag{};  ///< messages that it does not have yet
};

/// A value. Indices are those of the log's batches.
struct ClusterReport {
  struct Member {
    std::string name;
    bool is_here{};             ///< it has not left, and has appended something in the last seconds
    bool has_left{};            ///< in an orderly way
    std::uint64_t index{};      ///< up to which it has applied the log, when it appended its last batch
    std::uint64_t silent_ms{};  ///< since its last batch, by this broker's clock
  };
  std::string member;  ///< this broker's name
  std::uint64_t index{};
  std::uint64_t first_index{};  ///< that is in the log
  std::uint64_t last_index{};   ///< that is in the log, as far as this broker knows
  std::uint64_t checkpoint_index{};
  std::vector<Member> members;  ///< by name; this broker is one of them
  std::vector<LogServer> servers;
  bool has_quorum{};  ///< the log has a leader, and it can be reached
  std::string fault;  ///< why this broker takes no events; empty: it does
  // Since the broker started.
  std::uint64_t appends{};
  std::uint64_t retries{};
  std::uint64_t duplicates{};
  std::uint64_t fenced{};
  std::uint64_t holes{};
  std::uint64_t rereads{};
  std::uint64_t read_bytes{};

  [[nodiscard]] std::uint64_t lag() const noexcept { return last_index > index ? last_index - index : 0; }
  [[nodiscard]] std::size_t members_here() const noexcept {
    std::size_t here = 0;
    for (const Member& each : members) here += each.is_here ? 1 : 0;
    return here;
  }
};

}  // namespace backplane::broker
