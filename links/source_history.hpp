#pragma once
// Reads the events of one broker strictly in the order of their positions, from its history.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "core/wire/stamp.hpp"
#include "core/zmq/socket.hpp"
#include "follower/broker_endpoints.hpp"
#include "follower/control/alive_guard.hpp"
#include "follower/control/control_channel.hpp"
#include "follower/control/control_requests.hpp"
#include "follower/control/replay_requests.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane::links {

/// What a SourceHistory returns. Owns its bytes.
struct SourceItem {
  enum class Kind : std::uint8_t {
    event,
    /// The topic's offsets `first` (0: unknown) to `last` are lost, as the broker says.
    gap,
    /// The topic's last event, which history no longer has: all up to `last` that did not come is lost.
    tail,
  };
  Kind kind{Kind::event};
  std::uint64_t position{};
  std::string topic;
  std::string event;      ///< stamped; of an event
  wire::Stamp stamp;      ///< of an event
  std::uint64_t first{};  ///< offsets, of a gap or a tail
  std::uint64_t last{};
};

/// Reads the events that match some patterns, in the order of their positions and each once. It requests them
/// from history, slice by slice, and when it has come to the end, again after a short time: live events are
/// in history, too. Nothing therefore depends on a subscription, and nothing comes late.
///
/// If history no longer has all events that match, reading continues with those that are left, and with the
/// last values of topics that have none left. Lives on one thread; owns its socket.
class SourceHistory final : private follower::ReplaySink {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    BrokerEndpoints broker;
    std::vector<std::string> patterns;       ///< at least one
    std::string name;                        ///< for the broker's status displays
    std::chrono::milliseconds poll_max{50};  ///< longest interval between two requests of a reader at the end
  };

  /// Returns at once. Throws std::invalid_argument for an invalid endpoint. `context` outlives it.
  SourceHistory(mq::Context& context, Options options);
  ~SourceHistory() override;
  SourceHistory(const SourceHistory&) = delete;
  SourceHistory& operator=(const SourceHistory&) = delete;

  /// Where the broker is, as it said on this connection; none while it is not connected.
  [[nodiscard]] const std::optional<StreamPosition>& broker() const noexcept { return broker_; }
  /// The broker's last position; 0 if it is unknown.
  [[nodiscard]] std::uint64_t broker_position() const noexcept { return broker_position_; }

  /// Begins to read after a position, or with `since`. What was returned before and is not pop()ped is
  /// discarded.
  void begin(const StreamPosition& after, const std::optional<ReplayFrom>& since = {});
  /// Reads nothing more until begin().
  void stop();
  [[nodiscard]] bool is_reading() const noexcept { return reading_; }

  /// The next item, or nullptr if there is none yet. Valid until pop() or begin().
  [[nodiscard]] const SourceItem* front();
  void pop();
  /// Everything up to here has been pop()ped. 0: unknown.
  [[nodiscard]] std::uint64_t through() const;
  /// Whether all that the broker had at its last reply has been pop()ped.
  [[nodiscard]] bool caught_up() const;
  /// All that is left of the stream has been read, and the broker continues in this one.
  [[nodiscard]] std::optional<std::uint64_t> next_stream();
  /// Times that history no longer had events that match.
  [[nodiscard]] std::uint64_t gone() const noexcept { return gone_; }
  /// Since begin(): the first position from which history had everything that matches; 0: from the place
  /// where reading began.
  [[nodiscard]] std::uint64_t first_available() const noexcept { return first_available_; }

  /// Requests the files that define message types; `handler` is called once.
  void types(const std::vector<std::string>& names, std::function<void(Result<TypesReply>)> handler) {
    requests_.types(names, std::move(handler));
  }
  /// Counters for the broker's status displays.
  void set_counters(std::vector<std::pair<std::string, std::uint64_t>> counters) {
    counters_ = std::move(counters);
  }

  /// What is wrong, on one line; empty: nothing.
  [[nodiscard]] std::string problem() const;

  /// @returns the amount of work done.
  std::size_t do_work(Clock::time_point now);
  [[nodiscard]] std::vector<int> fds();
  [[nodiscard]] bool pending() { return channel_.pending(); }
  [[nodiscard]] Clock::time_point next_deadline() const;

 private:
  /// What is read of one pattern.
  struct Feed {
    std::string pattern;
    std::uint64_t number{};  // of its replay; 0: none is open
    std::deque<SourceItem> items;
    std::size_t bytes{};      // of items
    std::uint64_t through{};  // everything up to here is in items, or was returned
    bool knows_through{};
    bool has_begun{};  // a slice has arrived
    bool idle{};       // the last slice has arrived
    bool complete{};   // and there was nothing after it
    Clock::time_point request_at{};
    std::chrono::milliseconds pause{1};
    std::optional<Clock::time_point> retry_at;  // begin the replay again
    std::optional<std::uint64_t> next_stream;   // the stream has ended
    // While what is gone is being replaced by last values.
    bool filling{};
    std::uint64_t fill_after{};
    std::uint64_t fill_before{};
    std::deque<SourceItem> fill;  // by position
    bool wants_rest{};            // of what is left there, when there is room
    std::string rest_cursor;
  };

  void replayed(std::uint64_t number, const Delivery& delivery) override;
  void replayed_gap(std::uint64_t number, const Gap& gap) override;
  void replay_slice(std::uint64_t number, const ReplaySlice& slice) override;
  Feed* find(std::uint64_t number);
  void open(Feed& feed, const ReplayFrom& from);
  void reopen(Feed& feed);
  void say_hello(Clock::time_point now);
  void request_values(std::uint64_t number, const std::string& cursor);
  void on_values(std::uint64_t number, const Result<const v1::ControlReply*>& result);
  void request_tails(std::uint64_t number, const std::string& cursor);
  void on_tails(std::uint64_t number, const Result<const v1::ControlReply*>& result);
  void sort_fill(Feed& feed);
  void request_rest(Feed& feed);
  void on_rest(std::uint64_t number, const Result<const v1::ControlReply*>& result);
  static void take_fill(Feed& feed, std::uint64_t through, std::vector<SourceItem> items);
  void finish_fill(Feed& feed);
  [[nodiscard]] std::uint64_t watermark() const;

  Options options_;
  follower::ControlChannel channel_;
  follower::ControlRequests requests_;
  follower::ReplayRequests replays_;
  std::uint64_t session_;
  std::vector<Feed> feeds_;
  bool reading_{};
  std::uint64_t stream_{};  // that is being read
  std::uint64_t last_number_{};
  std::optional<StreamPosition> broker_;
  std::uint64_t broker_position_{};
  Clock::time_point hello_at_{};
  Clock::time_point connected_check_{};
  Clock::time_point now_{};
  std::string problem_;
  std::uint64_t gone_{};
  std::uint64_t first_available_{};
  std::vector<std::pair<std::string, std::uint64_t>> counters_;
  follower::AliveGuard alive_;
};

}  // namespace backplane::links
