#pragma once
// Passes the events of one broker on to the target.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/log/log.hpp"
#include "core/topic/string_hash.hpp"
#include "core/zmq/socket.hpp"
#include "follower/broker_endpoints.hpp"
#include "follower/control/since.hpp"
#include "links/link_state.hpp"
#include "links/passed_event.hpp"
#include "links/source_history.hpp"
#include "links/target_session.hpp"

namespace backplane::links {

struct LinkOptions {
  std::string name;                   ///< a topic; the publisher at the target
  std::string reader;                 ///< a topic; the client at the source
  std::vector<std::string> patterns;  ///< at least one
  std::string under;                  ///< "": topics stay as they are
  std::optional<Since> since;  ///< where a link that has passed nothing on yet begins; none: at the beginning
  std::size_t hops_max{64};    ///< events that have passed so many links are not passed on
  std::chrono::milliseconds poll_max{50};
};

/// Counters of a link, which only grow, and its state.
struct LinkFigures {
  std::uint64_t passed{};  ///< events sent on, each once
  std::uint64_t lost{};    ///< events announced as lost at the target
  std::uint64_t looped{};  ///< events left out because they have passed the target, or too many links
  std::uint64_t
      unpassable{};  ///< events left out because their topic would be too long, or with `under` invalid
  std::uint64_t too_large{};  ///< events above the target's limit: part of `lost`
  std::uint64_t refused{};    ///< by the target
  std::uint64_t resumed{};    ///< times that it began again at the last confirmed event
  std::uint64_t resets{};     ///< times that the source came back without its history
  std::uint64_t gone{};       ///< times that the source's history no longer had what was to be read
  std::uint64_t waiting{};    ///< events that are sent and not confirmed
  std::uint64_t lag{};        ///< positions of the source that are not passed on yet
  double behind_seconds{};    ///< since when there are some
  bool source_connected{};
  bool target_connected{};

  LinkFigures& operator+=(const LinkFigures& other);
};

/// Reads one broker's history and publishes what it reads at the target.
///
/// An event's sequence at the target is twice its position at the source, and the session is made of the
/// source's stream: the target itself refuses what it has already, and knows where to continue. What is lost
/// at the source is announced at the target by the odd sequences. After any failure, of whatever part, the
/// link asks the target how far it has come, and reads the source from there (docs/decisions/0022).
///
/// Lives on one thread; owns its sockets.
class Link {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param targets   the backplanes at the other end, as far as they are known; shared by all links of a
  ///                  process. `context`, `options` and `targets` outlive it.
  Link(mq::Context& context, const LinkOptions& options, const BrokerEndpoints& from,
       TargetSession::Options target, const LinkState& state, std::set<std::uint32_t>& targets);

  /// @param may_pass  whether all targets are known that can be
  std::size_t do_work(Clock::time_point now, bool may_pass);
  [[nodiscard]] std::vector<int> fds();
  [[nodiscard]] bool pending();
  [[nodiscard]] Clock::time_point next_deadline() const;

  /// Passes on nothing more. is_settled() is true when all that was sent is confirmed.
  void stop() { stopping_ = true; }
  [[nodiscard]] bool is_settled() const { return in_flight_.empty(); }
  void say_goodbye() { target_.say_goodbye(); }

  /// How far it has come; none as long as the source is unknown.
  [[nodiscard]] std::optional<LinkState::Source> progress() const;
  [[nodiscard]] LinkFigures figures() const;
  /// Shows them in the status displays of both brokers.
  void show(const LinkFigures& figures);
  /// Why it cannot work at all, on one line; empty: it can.
  [[nodiscard]] const std::string& fatal() const noexcept { return fatal_; }
  /// Why nothing is passed on now; empty: nothing is wrong.
  [[nodiscard]] std::string problem() const;

 private:
  struct Topic {
    std::uint64_t offset{};  // of the last event that was read
    bool known{};            // or nothing is known of the topic
    bool looped{};           // that event was left out, because it came from the target
  };
  struct Sent {
    std::uint64_t sequence{};
    std::size_t bytes{};
    Topic* topic{};        // in topics_
    Topic before{};        // what it was
    std::uint64_t lost{};  // it stands for so many lost events
  };

  void choose_session();
  void start_session(std::uint64_t stream);
  void resume(Clock::time_point now);
  void take_confirmed();
  bool pump();
  enum class Passed : std::uint8_t { done, later };
  Passed pass(const SourceItem& item);
  Passed pass_event(const SourceItem& item);
  Passed announce_before(const SourceItem& item, bool looped);
  Passed announce(const std::string& topic, std::uint64_t lost, std::uint64_t sequence,
                  std::uint64_t last_offset);
  [[nodiscard]] const Topic* known(const std::string& topic) const;
  Topic& topic(const std::string& name);
  [[nodiscard]] bool send(std::string_view topic, std::string_view event, std::uint64_t sequence);
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] bool knows_type(std::string_view type);
  [[nodiscard]] bool is_loop() const;
  [[nodiscard]] std::optional<std::string> target_topic(std::string_view topic) const;
  [[nodiscard]] std::uint64_t floor(std::uint64_t position);
  [[nodiscard]] std::uint64_t session_of(std::uint64_t stream) const;
  [[nodiscard]] std::uint64_t dealt_with() const;
  [[nodiscard]] PassedEvent::Place place(std::uint64_t sequence) const;
  void report(Clock::time_point now);

  const LinkOptions& options_;
  std::string from_;
  std::string to_;
  bool one_target_;
  SourceHistory source_;
  TargetSession target_;
  LinkState state_;  // as loaded
  std::set<std::uint32_t>& targets_;
  PassedEvent event_;
  std::optional<ReplayFrom> since_;  // while nothing has been passed on
  bool blocked_{};                   // the target's queue was full

  std::optional<std::uint64_t> stream_;  // of the source, whose session is in use
  std::uint64_t session_{};
  std::uint64_t run_{};            // of the target, for which reading was begun
  std::uint64_t last_sequence_{};  // sent
  std::uint64_t confirmed_max_{};  // sequence that a target has confirmed
  std::uint64_t done_{};           // position up to which everything is confirmed, or left out
  std::uint64_t began_at_{};       // position from which it reads now
  bool first_start_{};             // nothing was passed on before
  std::uint64_t first_item_{};     // the first position that was read after that
  std::unordered_map<std::string, Topic, StringHash, std::equal_to<>> topics_;
  std::deque<Sent> in_flight_;
  std::size_t in_flight_bytes_{};

  std::set<std::string, std::less<>> types_;
  std::string awaited_type_;
  Clock::time_point type_until_{};
  bool stopping_{};
  std::string fatal_;
  LinkFigures figures_;
  Clock::time_point now_{};
  std::optional<Clock::time_point> behind_since_;
  std::string reported_;
  std::optional<Clock::time_point> problem_since_;
  log::RateLimit problems_{std::chrono::seconds{5}};
  log::RateLimit events_{std::chrono::seconds{1}};
  std::uint64_t reported_refused_{};
  bool was_connected_{};
};

}  // namespace backplane::links
