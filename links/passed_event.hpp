#pragma once
// What a link does to the bytes of an event: it gives it another publisher, and notes where it came from.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "follower/order/resume_token.hpp"

namespace backplane::links {

/// The attribute that lists the backplanes that an event has passed, oldest first: for each, its stream and
/// the event's position there, as `<16 hex digits>:<position>`, joined by commas. The upper half of a stream
/// identifies the backplane across restarts.
inline constexpr std::string_view origin_attribute = "origin";
/// The attribute with the event's first publisher.
inline constexpr std::string_view publisher_attribute = "origin_source";

/// Reads events, and writes them as the link publishes them. Everything but the publisher's fields is kept as
/// it is: time, payload, attributes, and fields that this program does not know. One thread.
class PassedEvent {
 public:
  /// @param name  of the link: the publisher of what it writes
  explicit PassedEvent(std::string name) : name_(std::move(name)) {}

  /// Reads an event without its stamp; the bytes must be valid until it has been written.
  /// @returns false if this is no event.
  [[nodiscard]] bool read(std::span<const std::byte> event);

  /// Whether the event has passed this backplane (upper half of a stream).
  [[nodiscard]] bool has_passed(std::uint32_t backplane) const;
  /// The number of links that it has passed.
  [[nodiscard]] std::size_t hops() const;
  /// The type of its payload, if that is a message: the full name.
  [[nodiscard]] std::string_view type() const noexcept { return type_; }

  /// Where an event is in the link's session at the target.
  struct Place {
    std::uint64_t session{};
    std::uint64_t sequence{};
    std::uint64_t after{};  ///< the session's sequence before it; 0: it is the first
  };
  /// The event that was read last. `from` is where it was read.
  [[nodiscard]] std::string write(const Place& place, const StreamPosition& from) const;
  /// What stands for `count` lost events.
  [[nodiscard]] std::string write_lost(const Place& place, std::uint64_t count) const;

 private:
  void write_head(const Place& place, std::string& out) const;

  std::string name_;
  std::string_view publisher_;
  std::string_view origin_;
  std::string_view type_;
  bool has_publisher_attribute_{};
  std::vector<std::string_view> kept_;  // fields, or runs of them
};

}  // namespace backplane::links
