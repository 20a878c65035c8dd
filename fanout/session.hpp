#pragma once
// One client of a server.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/uio.h>

#include "fanout/message.hpp"
#include "fanout/outbox.hpp"
#include "fanout/stream.hpp"

namespace backplane::fanout {

class Session;

/// What a protocol does with one session. Called on the session's thread; it may call the session's
/// methods at any time until it is destroyed, but not destroy anything itself.
class Connection {
 public:
  virtual ~Connection() = default;
  /// Bytes from the client, as they came: half a line or ten.
  virtual void on_bytes(std::string_view bytes) = 0;
  /// The client will send no more. It may still be listening.
  virtual void on_input_end() = 0;
  /// An event was dropped since the backlog is full, before any byte of it was written.
  virtual void on_dropped(const Message& message) = 0;
  /// There is room again: appends what is to be said of all that was dropped since the last time.
  virtual void report_losses(std::string& out) = 0;
  /// The server is about to end, or ("slow_consumer") the backlog is full and the session's policy is to
  /// disconnect: says why and calls Session::end().
  virtual void say_goodbye(std::string_view reason) = 0;
};

/// What happens where a session's backlog is full.
enum class Overflow : std::uint8_t {
  drop_oldest,  ///< whole events, and the protocol is told of each
  disconnect,
};

struct SessionLimits {
  std::size_t backlog_bytes_max = 8u << 20;        ///< events queued for one session
  std::size_t backlog_total_bytes_max = 1u << 30;  ///< the same, of all sessions together
  std::size_t replies_bytes_max = 64u << 10;       ///< above it, no input is read until replies are written
  /// Notices to somebody who reads nothing; larger than any report of losses.
  std::size_t unread_bytes_max = 32u << 20;
};

/// Counters only grow, but for those that say otherwise.
struct SessionCounters {
  std::uint64_t matched{};        ///< events given to sessions
  std::uint64_t delivered{};      ///< events written to the last byte
  std::uint64_t dropped{};        ///< events dropped, the backlog being full
  std::uint64_t abandoned{};      ///< events that were queued when their session ended
  std::uint64_t backlog_bytes{};  ///< queued now
};

/// What the sessions of one server have in common. Lives on their thread.
struct SessionShare {
  SessionLimits limits;
  SessionCounters counters;
  std::vector<Session*> dirty;                           ///< sessions with something to do in flush()
  std::vector<iovec> scratch{std::vector<iovec>(1024)};  ///< as many as one sendmsg takes
};

/// One client. Lives on its server's thread; every method is called there. Owns its outbox and its
/// protocol's connection; shares each event, which nobody may modify. Its server destroys it, at the end
/// of the turn in which it became over().
class Session {
 public:
  /// `stream` and `share` outlive the session.
  Session(std::uint64_t id, Stream& stream, SessionShare& share);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] Connection& connection() noexcept { return *connection_; }
  void set_connection(std::unique_ptr<Connection> connection) { connection_ = std::move(connection); }

  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }

  // The protocol's side. Nothing is written before flush().

  /// Queues an event; where the backlog is full, does what the session's policy says.
  void send(MessagePtr message);
  /// Queues bytes for this client alone. They are never dropped: above unread_bytes_max of them the
  /// session is aborted.
  void reply(std::string_view bytes);
  void set_overflow(Overflow overflow) noexcept { overflow_ = overflow; }
  [[nodiscard]] Overflow overflow() const noexcept { return overflow_; }
  /// Stops reading from the client, for as long as the protocol can't take more.
  void hold_input(bool hold) noexcept;
  /// Queues `last_words`, takes no more input, and ends the session when all that is queued is written.
  void end(std::string_view last_words);
  /// Nothing more can be done with it.
  [[nodiscard]] bool open() const noexcept { return state_ == State::open; }
  [[nodiscard]] bool input_ended() const noexcept { return input_ended_; }
  [[nodiscard]] const Outbox& outbox() const noexcept { return outbox_; }

  // The server's side.

  /// Reads what there is, at most 64 KiB, and hands it to the connection.
  void on_readable();
  /// The stream takes bytes again.
  void on_writable();
  /// Writes what is queued, one gathered write at a time, as far as the stream takes it.
  void flush();
  /// Ends it at once; what is queued is lost.
  void abort() noexcept;

  [[nodiscard]] bool wants_input() const noexcept;
  [[nodiscard]] bool wants_output() const noexcept { return blocked_; }
  /// Everything is said; the server lingers for the client's end, so that the last words arrive.
  [[nodiscard]] bool ending() const noexcept { return state_ == State::ending || state_ == State::said; }
  [[nodiscard]] bool over() const noexcept { return state_ == State::over; }
  [[nodiscard]] bool has_received() const noexcept { return has_received_; }

 private:
  enum class State : std::uint8_t { open, ending, said, over };

  void mark_dirty();
  void mark_changed();
  void make_room();
  void drop_oldest();
  /// @returns whether to go on.
  bool write_some();

  const std::uint64_t id_;
  Stream& stream_;
  SessionShare& share_;
  Outbox outbox_;
  std::unique_ptr<Connection> connection_;
  State state_{State::open};
  Overflow overflow_{Overflow::drop_oldest};
  bool dirty_{};
  bool blocked_{};
  bool held_{};
  bool input_ended_{};
  bool has_received_{};
};

}  // namespace backplane::fanout
