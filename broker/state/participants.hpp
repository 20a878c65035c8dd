#pragma once
// The participants: publishers, gateways and clients that send Hello once a second.

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

#include "broker/state/user_number.hpp"
#include "core/error/error.hpp"

namespace backplane::v1 {
class SourceStatus;
}

namespace backplane::broker {

/// The topic of a publisher's up and down events: `$SYS.source.<name>`. Bytes of the name that a topic cannot
/// contain become `_` (white space, control characters, wildcards, a dot that would leave a token empty).
/// `name` has 1 to source_name_bytes_max bytes.
[[nodiscard]] std::string source_topic(std::string_view name);

inline constexpr std::string_view source_topic_prefix = "$SYS.source.";
/// The rest of a topic's 255 bytes.
inline constexpr std::size_t source_name_bytes_max = 243;

enum class Role : std::uint8_t { unspecified, publisher, gateway, client };
inline constexpr std::size_t role_count = 4;
[[nodiscard]] std::string_view name(Role role) noexcept;

/// A program that sent Hello, identified by role, name and session.
struct Participant {
  std::string name;
  std::uint64_t session{};
  Role role{Role::unspecified};
  bool up{true};
  std::vector<std::pair<std::string, std::uint64_t>> counters{};  ///< its own, from its last Hello
  UserNumber user{no_user};                                       ///< whom it belongs to
};

/// Tracks which participants are up. One that sends no Hello for `silence_max` is down ("silent"); one that
/// sends a closing Hello is down at once ("closed"). For publishers, every change is announced as a
/// SourceStatus. If two sessions have the same name, the newer one represents the name, and the end of the
/// other is not announced while the newer one is up. Lives on the loop thread; time is passed in. Bounded:
/// the participants that have been down longest are evicted first, and while the limit is reached by those
/// that are up, new ones are refused.
class Participants {
 public:
  using Clock = std::chrono::steady_clock;
  /// Called from within hello() and expire(); must not call back.
  using OnStatus = std::function<void(const std::string& topic, const v1::SourceStatus& status)>;
  struct Options {
    std::size_t participants_max = 10'000;
    std::chrono::nanoseconds silence_max = std::chrono::seconds{3};
    std::size_t counters_max = 64;  ///< per participant
    std::size_t counter_name_bytes_max = 64;
  };
  /// The number of known participants, for /metrics.
  struct Figures {
    std::size_t up[role_count]{};  ///< by Role
    std::size_t down[role_count]{};
    // Of these, links (`backplane link`), which publish to this broker or read from it.
    std::size_t links_up{};
    std::size_t links_down{};
    std::uint64_t link_lag_positions{};  ///< of those that are up
    std::uint64_t link_lost{};           ///< events that they have announced as lost
  };
  struct Page {
    std::vector<const Participant*> participants;  ///< valid until the next hello() or expire()
    std::vector<std::uint64_t> numbers;            ///< of each: pass one as `after` to continue behind it
    bool more{};
  };

  explicit Participants(OnStatus on_status);
  Participants(OnStatus on_status, Options options);
  Participants(Participants&&) = default;  // copies would share the entries of up_ and down_
  Participants& operator=(Participants&&) = default;

  /// Whether a Hello or goodbye would change what belongs to another user: a participant of that user, or
  /// the name of a publisher of that user that is up.
  [[nodiscard]] bool belongs_to_another(const Participant& participant) const;

  /// Handles a Hello, or a goodbye if `closing`; a goodbye of an unknown participant is ignored.
  /// @returns invalid_argument if the name, the role or the counters exceed a limit; exhausted if the limit
  ///          of participants that are up is reached.
  Result<void> hello(Participant participant, bool closing, Clock::time_point now);

  /// Marks participants that have been silent too long as down. The work is proportional to their number.
  void expire(Clock::time_point now);

  /// Announces again that publishers are up, if they are, and if `is_wanted` says so: of each topic and
  /// session.
  void announce_again(const std::function<bool(const std::string& topic, std::uint64_t session)>& is_wanted);

  /// The participants in the order in which they were added, after the one with number `after` (0: from the
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
  /// The session that represents a publisher's name.
  struct Source {
    std::uint64_t session{};
    UserNumber user{no_user};
    bool up{};
    std::size_t entries{};  ///< known sessions with this name
  };

  Result<void> check(const Participant& participant) const;
  /// Adds a participant to figures_ or, before it changes, removes it.
  void count(const Participant& participant, bool add);
  Result<std::uint64_t> add(Participant& participant);
  void refresh(Entry& entry, std::uint64_t number, Participant& participant, Clock::time_point now);
  void mark_down(std::uint64_t number, Entry& entry, const char* reason);
  void evict(std::uint64_t number);
  void source_is_up(const Participant& participant, bool is_new);
  void announce(const Participant& participant, bool up, const char* reason);

  OnStatus on_status_;
  Options options_;
  std::uint64_t last_number_{};
  std::map<std::uint64_t, Entry> entries_;  // in the order in which they were added
  std::unordered_map<Key, std::uint64_t, KeyHash> numbers_;
  std::list<std::uint64_t> up_;    // the longest silent first
  std::list<std::uint64_t> down_;  // the longest down first
  std::unordered_map<std::string, Source> sources_;
  Figures figures_;
};

}  // namespace backplane::broker
