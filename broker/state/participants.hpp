#pragma once
// Who is there: publishers, gateways and clients that say Hello once a second.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/error/error.hpp"

namespace backplane::v1 {
class SourceStatus;
}

namespace backplane::broker {

/// The topic on which a publisher's comings and goings are told: `$SYS.source.<name>`, where every byte of
/// the name that a topic cannot have is a `_` (white space, control characters, wildcards, a dot that would
/// leave a token empty). `name` has 1 to source_name_bytes_max bytes.
[[nodiscard]] std::string source_topic(std::string_view name);

inline constexpr std::string_view source_topic_prefix = "$SYS.source.";
/// What is left of a topic's 255 bytes behind it.
inline constexpr std::size_t source_name_bytes_max = 243;

enum class Role : std::uint8_t { unspecified, publisher, gateway, client };
inline constexpr std::size_t role_count = 4;
[[nodiscard]] std::string_view name(Role role) noexcept;

/// One that said Hello: a role, a name and a session make it one and the same.
struct Participant {
  std::string name;
  std::uint64_t session{};
  Role role{Role::unspecified};
  bool up{true};
  std::vector<std::pair<std::string, std::uint64_t>> counters;  ///< its own, as it said them last
};

/// Follows who is up. Who says nothing for `silence_max` is down ("silent"), who says that it closes is down
/// at once ("closed"). For publishers every change is told as a SourceStatus; of two sessions of one name the
/// one that came last speaks for the name, and the other's end is not told while that one is up. Lives on the
/// loop thread; time is passed in. Bounded: the participants that went down first are forgotten first, and
/// while as many as the limit are up, new ones are refused.
class Participants {
 public:
  using Clock = std::chrono::steady_clock;
  /// Called from within hello() and expire(); must not call back.
  using OnStatus = std::function<void(const std::string& topic, const v1::SourceStatus& status)>;
  struct Options {
    std::size_t participants_max = 10'000;
    std::chrono::nanoseconds silence_max = std::chrono::seconds{3};
    std::size_t counters_max = 64;  ///< a participant
    std::size_t counter_name_bytes_max = 64;
  };
  /// How many are known, for /metrics.
  struct Figures {
    std::size_t up[role_count]{};  ///< by Role
    std::size_t down[role_count]{};
  };
  struct Page {
    std::vector<const Participant*> participants;  ///< valid until the next hello() or expire()
    std::vector<std::uint64_t> numbers;            ///< of each: an `after` for who wants only so many
    bool more{};
  };

  explicit Participants(OnStatus on_status);
  Participants(OnStatus on_status, Options options);
  Participants(Participants&&) = default;  // copies would share the places in up_ and down_
  Participants& operator=(Participants&&) = default;

  /// Takes a Hello, or with `closing` a farewell; that of one who is not known is nothing.
  /// @returns invalid_argument where the name, the role or the counters break a limit; exhausted where as
  /// many
  ///          as allowed are up.
  Result<void> hello(Participant participant, bool closing, Clock::time_point now);

  /// Says of all that have been silent too long that they are down. As much work as there are such.
  void expire(Clock::time_point now);

  /// The participants in the order in which they first came, after the one with number `after` (0: from the
  /// start).
  [[nodiscard]] Page list(std::uint64_t after, std::size_t participants_max) const;

  [[nodiscard]] Figures figures() const noexcept { return figures_; }
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Key {
    Role role;
    std::uint64_t session;
    std::string name;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  struct Entry {
    Participant participant;
    Clock::time_point last_hello;
    std::list<std::uint64_t>::iterator list_entry;  ///< in up_ or down_
  };
  /// Who speaks for a publisher's name.
  struct Source {
    std::uint64_t session{};
    bool up{};
    std::size_t entries{};  ///< sessions of this name that are known
  };

  Result<void> check(const Participant& participant) const;
  Result<std::uint64_t> add(Participant& participant);
  void refresh(Entry& entry, std::uint64_t number, Participant& participant, Clock::time_point now);
  void mark_down(std::uint64_t number, Entry& entry, const char* reason);
  void evict(std::uint64_t number);
  void source_is_up(const Participant& participant, bool is_new);
  void announce(const Participant& participant, bool up, const char* reason);

  OnStatus on_status_;
  Options options_;
  std::uint64_t last_number_{};
  std::map<std::uint64_t, Entry> entries_;  // by the order in which they came
  std::unordered_map<Key, std::uint64_t, KeyHash> numbers_;
  std::list<std::uint64_t> up_;    // who was heard longest ago stands first
  std::list<std::uint64_t> down_;  // who went down first stands first
  std::unordered_map<std::string, Source> sources_;
  Figures figures_;
};

}  // namespace backplane::broker
