#pragma once
// How far a reader that can lose its connection has come.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/topic/string_hash.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane {

/// How far a reader has come in each stream, and which events it has received above that point. After a lost
/// connection it resumes at resume_at(), or repeats its first request if that is empty. What arrives again is
/// then recognised by admit(): an event arrives once, and none is missing.
///
/// An event shows nothing about those of other topics with lower positions: these may be still to come, from
/// history or because they were lost on the way. The reader therefore learns from elsewhere (the gateway's
/// reply to POSITION) before which positions it has everything.
///
/// The events of one topic must arrive in the order of their offsets, gaps included. A value; one thread.
/// gateway/web/page/token.js is the same for the page.
class ReaderProgress {
 public:
  /// An event has arrived. @returns false if it had arrived before, and must be ignored. Events without an
  /// offset (0) cannot be recognised.
  [[nodiscard]] bool admit(std::string_view topic, std::uint64_t stream, std::uint64_t position,
                           std::uint64_t offset);
  /// Whether no event of the topic is missing between the last one that has arrived and this one, as far as
  /// the topic's last one is known.
  [[nodiscard]] bool follows(std::string_view topic, std::uint64_t stream, std::uint64_t offset) const;
  /// The topic's events up to the offset `last` are lost. Should they arrive later, they are ignored.
  void lose(std::string_view topic, std::uint64_t stream, std::uint64_t last);
  /// The broker has begun again, with this stream: earlier ones of its origin have ended.
  void restart(std::uint64_t stream);
  /// Everything up to these positions has arrived, or is not wanted. Positions never go back.
  void complete(const StreamPositions& to);
  /// The connection was lost: a restart() after it may name a stream again that was known before.
  void on_disconnected() noexcept;

  /// The positions before which nothing is missing, at most 64. Empty: none is known.
  [[nodiscard]] StreamPositions resume_at() const;
  /// Topics with events above these positions.
  [[nodiscard]] std::size_t topics() const noexcept;

 private:
  struct Received {
    std::uint64_t offset{};
    std::uint64_t position{};
  };
  struct Stream {
    std::uint64_t id{};
    bool known_complete{};
    std::uint64_t complete{};
    bool before_connection{};  ///< it was known when the connection was lost
    std::unordered_map<std::string, Received, StringHash, std::equal_to<>> topics;
  };

  Stream* find(std::uint64_t stream) noexcept;
  Stream& at(std::uint64_t stream);
  void record(Stream& stream, std::string_view topic, Received received);

  std::vector<Stream> streams_;
};

}  // namespace backplane
