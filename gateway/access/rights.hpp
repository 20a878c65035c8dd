#pragma once
// What one user may do.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/policy/policy.hpp"
#include "core/topic/pattern.hpp"

namespace backplane::gateway {

/// The topics that a user may read. Users with the same patterns share one. Immutable; any thread.
class ReadView {
 public:
  /// @param patterns sorted by their text, each once
  explicit ReadView(std::vector<Pattern> patterns) : patterns_(std::move(patterns)) {}

  [[nodiscard]] bool may_read(std::string_view topic) const noexcept;
  /// How much of a subscription may be read; as Policy::visibility().
  [[nodiscard]] policy::Visibility visibility(const Pattern& subscription) const noexcept;
  /// Whether everything that `other` shows of the subscription is shown by this view. May be false if only
  /// several patterns together show it.
  [[nodiscard]] bool includes(const ReadView& other, const Pattern& subscription) const noexcept;

 private:
  std::vector<Pattern> patterns_;
};
using ReadViewPtr = std::shared_ptr<const ReadView>;

/// The patterns of a user's roles that permit reading, sorted by their text, each once.
[[nodiscard]] std::vector<Pattern> readable_patterns(const policy::Policy& policy, const policy::User& user);

/// One user's rights by one policy. Immutable; any thread.
struct Rights {
  std::string user;
  bool anonymous{};
  bool admin{};
  ReadViewPtr view;
};

/// Why a request is refused: a code for programs, and a text for people. `code` is a static string; empty:
/// it is permitted.
struct AccessRefusal {
  std::string_view code;
  std::string text;
};

inline constexpr std::string_view not_permitted = "not_permitted";
inline constexpr std::string_view not_authenticated = "not_authenticated";

/// A user may not do something. A client without credentials gets not_authenticated, because another user
/// may be permitted to; another gets not_permitted.
/// @param what `subscribe to news.uk`
[[nodiscard]] AccessRefusal refusal(std::string_view user, bool anonymous, std::string_view what);

}  // namespace backplane::gateway
