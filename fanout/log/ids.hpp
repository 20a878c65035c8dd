#pragma once
// Identifiers that an engine and its owner share. The owner chooses all but ClientId; they are indexes, and
// should be small and dense.

#include <cstdint>

namespace backplane::fanout {

/// The topic of a message: losses are reported, and messages conflated, by topic. It has no other meaning to
/// the engine.
enum class TopicId : std::uint32_t {};
/// A set of audiences. Each message has one route.
enum class RouteId : std::uint32_t {};
/// A set of clients.
enum class AudienceId : std::uint32_t {};
/// One client. A ClientId is never reused.
enum class ClientId : std::uint64_t {};

/// One numbering over the messages of many topics: in a gateway, one incarnation of a broker.
enum class StreamId : std::uint16_t {};
inline constexpr StreamId no_stream{0xFFFF};

/// What the log keeps of a message besides its bytes.
struct MessageInfo {
  TopicId topic{};
  RouteId route{};
  std::uint64_t offset{};  ///< its number in its topic; losses are reported as ranges of these
  /// Messages of one stream are appended in the order of their positions, except those that come late. Only
  /// skips use these two (see Skip).
  StreamId stream{no_stream};
  std::uint64_t position{};
};

}  // namespace backplane::fanout
