#pragma once
// Patterns: which topics a subscription or a request matches.

#include <cstddef>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane {

/// A topic in which `*` stands for exactly one token and a final `>` for one or more. A wildcard in the first
/// token never matches a `$SYS.` topic. A value; immutable.
class Pattern {
 public:
  /// @returns the pattern, or invalid_argument with the text of describe() (core/topic/topic.hpp).
  static Result<Pattern> parse(std::string_view text);

  /// Whether a topic (already checked) matches. Allocates nothing.
  [[nodiscard]] bool matches(std::string_view topic) const noexcept;

  /// Whether every topic that `other` matches is matched by this pattern, too. Allocates nothing.
  [[nodiscard]] bool covers(const Pattern& other) const noexcept;

  /// Whether some topic is matched by both. Allocates nothing.
  [[nodiscard]] bool overlaps(const Pattern& other) const noexcept;

  /// Whether it has no wildcards, and thus matches one topic.
  [[nodiscard]] bool is_exact() const noexcept { return literal_bytes_ == text_.size(); }

  /// The literal prefix of all matching topics: everything before the first wildcard. This is what a ZeroMQ
  /// subscription can express; the events must still be filtered by matches().
  [[nodiscard]] std::string_view literal_prefix() const noexcept {
    return std::string_view(text_).substr(0, literal_bytes_);
  }

  [[nodiscard]] const std::string& str() const noexcept { return text_; }

  friend bool operator==(const Pattern& a, const Pattern& b) { return a.text_ == b.text_; }

 private:
  Pattern(std::string text, std::size_t literal_bytes)
      : text_(std::move(text)), literal_bytes_(literal_bytes) {}
  std::string text_;
  std::size_t literal_bytes_;
};

}  // namespace backplane
