#pragma once
// The numbers by which an engine and its owner speak of things. The owner chooses them, small and dense:
// all but ClientId are indexes.

#include <cstdint>

namespace backplane::fanout {

/// What a message is about, for the account of losses and for conflation. It means nothing to the engine.
enum class TopicId : std::uint32_t {};
/// A set of audiences, by which a message is handed out.
enum class RouteId : std::uint32_t {};
/// A set of clients.
enum class AudienceId : std::uint32_t {};
/// One client, never used again after it.
enum class ClientId : std::uint64_t {};

/// A numbering that runs over the messages of many topics: for a gateway, one life of a broker.
enum class StreamId : std::uint16_t {};
inline constexpr StreamId no_stream{0xFFFF};

/// What is known of a message beside its bytes.
struct MessageInfo {
  TopicId topic{};
  RouteId route{};
  std::uint64_t offset{};  ///< its number in its topic; a loss is told as a range of these
  /// Messages of one stream are appended in the order of their positions, but for some that come late. Only a
  /// Skip asks for these two.
  StreamId stream{no_stream};
  std::uint64_t position{};
};

}  // namespace backplane::fanout
